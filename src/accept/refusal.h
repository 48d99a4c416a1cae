/* SPDX-License-Identifier: MIT */
/* accept/refusal.h - what clients get that are not served: a 421, and one line in the log for many
 * of them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "accept/figures.h"
#include "accept/listeners.h"
#include "io/peer.h"

/* What such a client is told (a whole reply line), and why in the log. Both texts are constant. It
 * is counted as `figure`. */
struct refusal {
        const char *reply, *reason;
        enum figure figure;
};

/* Those that the log says nothing of yet; the last of them stands for all. */
struct refusals {
        unsigned n;
        const char *address, *reason;
        struct peer peer;
        int64_t next_line; /* the earliest time for it */
        struct figures *figures;
};

/* Tells the client of this connection, if that begins in clear, closes it, and logs. */
void refusal_say(struct refusals *r, const struct listener *l, int connection,
                 const struct refusal *refusal, size_t n_sessions);

/* Logs: the first refusal at once, others together a while later. `n_sessions` is how many run. */
void refusal_log(struct refusals *r, size_t n_sessions);

/* Logs at once what has had no line yet: nobody will ask again. */
void refusal_log_rest(struct refusals *r, size_t n_sessions);

/* Refuses whoever waits at the first `n` listeners, and whoever else comes within a second, or
 * until `stop_fd` is readable. If nobody waits it returns at once. */
void refusal_to_all(struct refusals *r, const struct listeners *l, size_t n, int stop_fd,
                    const struct refusal *refusal);

/* Refuses whoever waits at listeners that are ours alone. Those at passed ones are served by
 * whoever comes after us. */
void refusal_to_queue(struct refusals *r, const struct listeners *l, const struct refusal *refusal,
                      size_t n_sessions);
