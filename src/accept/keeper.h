/* SPDX-License-Identifier: MIT */
/* accept/keeper.h - a process that starts the TLS engine, and starts it anew when it ends. It stays
 * who we were at the start: root may read the key again when the certificate is renewed. It reads
 * nothing but orders of the acceptor, an octet each.
 */
#pragma once

#include <sys/types.h>

enum keeper_order {
        KEEPER_RENEW = 'r', /* another engine takes the place of the one that runs */
        KEEPER_STOP = 's',  /* the engine ends, and then the keeper */
};

/* What it keeps alive. */
struct keeper_engine {
        const char *program;
        char *const *arguments;
        int requests; /* its descriptor 0 */
};

/* Starts it. It answers at `*ret_orders` with an octet, at the beginning and after each order to
 * renew: 0 once an engine is ready, or else an exit status; the log says why then, and the engine
 * before goes on. When its orders end it leaves the engine alone, which sessions may need. Returns
 * its pid or a negative errno. */
pid_t keeper_start(const struct keeper_engine *engine, int *ret_orders);
