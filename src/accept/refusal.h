/* SPDX-License-Identifier: MIT */
/* accept/refusal.h - refuses clients that get no session: a 421, and one log line for many of them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "accept/figures.h"
#include "accept/listeners.h"
#include "io/peer.h"

/* The reply (a complete line), the reason for the log, both constant, and the figure to count. */
struct refusal {
        const char *reply, *reason;
        enum figure figure;
};

/* Refusals that are not logged yet, with the last client. */
struct refusals {
        unsigned n;
        const char *address, *reason;
        struct peer peer;
        int64_t next_line; /* the earliest time for it */
        struct figures *figures;
};

/* Sends the reply, unless the connection begins with TLS, closes the connection, and logs. */
void refusal_say(struct refusals *r, const struct listener *l, int connection,
                 const struct refusal *refusal, size_t n_sessions);

/* Logs the first refusal at once, further ones together later. `n_sessions` is the number of
 * running sessions. */
void refusal_log(struct refusals *r, size_t n_sessions);

/* Refuses the clients that wait on the first `n` listeners, and others that come within a second or
 * until `stop_fd` is readable. Returns at once if none wait. */
void refusal_to_all(struct refusals *r, const struct listeners *l, size_t n, int stop_fd,
                    const struct refusal *refusal);

/* At the end: refuses the clients that wait on listeners of our own, and logs all refusals that are
 * not logged yet. Clients on inherited listeners will be served by the next process. */
void refusal_to_queue(struct refusals *r, const struct listeners *l, const struct refusal *refusal,
                      size_t n_sessions);
