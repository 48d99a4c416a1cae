/* SPDX-License-Identifier: MIT */
/* io/patience.h - what ends a wait before its own timeout, the same for every wait of a session.
 *
 * A wait ends at the deadline of the session or the message, at an order to stop, and when the
 * client has left. But once a destination may have the message (a server was sent the final dot, or
 * a program runs), the wait goes on although the client has left, so that the log can say who has
 * the message. It then ends at the deadline, or stop_timeout after the order to stop.
 */
#pragma once

#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>

enum patience_stage {
        PATIENCE_IDLE,   /* between messages */
        PATIENCE_ASKING, /* in a transaction, and nobody has the message */
        PATIENCE_GIVEN,  /* somebody may have it */
};

struct patience {
        enum patience_stage stage;
        int stop_fd; /* readable: stop now; or -1 */
        /* readable: stop after the current transaction; or -1 */
        int soon_fd;
        int client; /* the descriptor to the client; -1: there is none that could leave */
        uint64_t stop_timeout;    /* seconds from the order to stop */
        int64_t stop_deadline;    /* INT64_MAX before the order to stop (io/deadline.h) */
        int64_t deadline;         /* of the session */
        int64_t message_deadline; /* of the message under way; INT64_MAX: there is none */
        /* until when a client that just got its verdict may still say QUIT after an order to stop
         * soon */
        int64_t farewell;
};

enum { PATIENCE_FDS_MAX = 4 };

/* The signal with which the acceptor makes sessions stop after the current transaction. */
#define STOP_SOON SIGUSR1

/* No deadline, no client. */
void patience_init(struct patience *p, int stop_fd, int soon_fd);

/* The earliest deadline. */
int64_t patience_deadline(const struct patience *p);

/* Whether to go on waiting: 0, or -ETIME (a deadline has passed), -ECANCELED (told to stop), -EPIPE
 * (the client has left). Does not wait. */
int patience_check(struct patience *p);

/* A text for the log; `error` is a result of patience_check(). */
const char *patience_reason(int error);

/* Waits for one of n descriptors, as poll(2) does. Returns 0 when one is ready, -ETIMEDOUT at
 * `until`, what patience_check() returns, or -ENOMEM if the kernel cannot wait. If `p` is NULL,
 * only `until` counts. */
int patience_wait(struct patience *p, struct pollfd *fds, size_t n, int64_t until);
