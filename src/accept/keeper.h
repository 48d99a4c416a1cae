/* SPDX-License-Identifier: MIT */
/* accept/keeper.h - a process that starts the TLS engine, and restarts it when it ends. It keeps
 * the user that we were started as, so that root can read the key again when the certificate is
 * renewed. It reads nothing but the acceptor's orders, one octet each.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

enum keeper_order {
        KEEPER_RENEW = 'r', /* replace the running engine */
        KEEPER_STOP = 's',  /* end the engine and the keeper */
};

/* What it keeps alive. */
struct keeper_engine {
        const char *program;
        char *const *arguments;
        int requests; /* its descriptor 0 */
};

/* Starts a keeper. It answers on `*ret_orders` with one octet, after its start and after each order
 * to renew: 0 when an engine is ready, or an exit status after logging why; the old engine then
 * goes on. A keeper whose first engine cannot be started ends, unless it is patient: then it tries
 * again, and drops the requests that wait. If the acceptor closes the socket, the keeper ends but
 * leaves the engine running, because sessions may need it. Returns its pid or a negative errno. */
pid_t keeper_start(const struct keeper_engine *engine, bool is_patient, int *ret_orders);
