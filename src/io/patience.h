/* SPDX-License-Identifier: MIT */
/* io/patience.h - what ends a wait before its own time-out: the same for everything that a session
 * waits for.
 *
 * That is the session's deadline, an order to stop, and a client that has left. Once somebody may
 * have the message (a server its final dot; a program, because it runs) the answer is worth waiting
 * for even if the client has left: the log can then say who has it. Such a wait ends at the
 * deadline, or stop_timeout after the order to stop.
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
        int stop_fd; /* readable when all is to end now, or -1 */
        /* readable when all is to end after the transaction under way, or -1 */
        int soon_fd;
        int client;               /* what the client reads our replies from; -1: nobody can leave */
        uint64_t stop_timeout;    /* seconds from the order to stop */
        int64_t stop_deadline;    /* INT64_MAX before that order was seen; see io/deadline.h */
        int64_t deadline;         /* of the session */
        int64_t message_deadline; /* of the message under way; INT64_MAX: there is none */
        /* until when a client that was just told the verdict may say QUIT although all is to end
         * soon: waits between messages go on */
        int64_t farewell;
};

enum { PATIENCE_FDS_MAX = 4 };

/* The signal by which an acceptor has its sessions stop soon. */
#define STOP_SOON SIGUSR1

/* No deadline, no client. */
void patience_init(struct patience *p, int stop_fd, int soon_fd);

/* The deadline that comes first. */
int64_t patience_deadline(const struct patience *p);

/* Whether there is still reason to wait: 0, or -ETIME (a deadline has passed), -ECANCELED (told to
 * stop), -EPIPE (the client has left). Does not wait. */
int patience_check(struct patience *p);

/* The reason, in words for the log: `error` is a result of patience_check(). */
const char *patience_reason(int error);

/* Waits for one of n descriptors, as poll(2) does. Returns 0 when one is ready, -ETIMEDOUT at
 * `until`, what patience_check() returns, or -ENOMEM if the kernel cannot wait. Without patience
 * (NULL) only `until` counts. */
int patience_wait(struct patience *p, struct pollfd *fds, size_t n, int64_t until);
