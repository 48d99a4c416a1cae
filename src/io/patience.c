/* SPDX-License-Identifier: MIT */
/* io/patience.c - what ends a wait before its own timeout. */
#include "io/patience.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "io/deadline.h"

enum { STOP, SOON, CLIENT, WATCHED };

void patience_init(struct patience *p, int stop_fd, int soon_fd) {
        *p = (struct patience) {
                .stop_fd = stop_fd,
                .soon_fd = soon_fd,
                .client = -1,
                .stop_deadline = INT64_MAX,
                .deadline = INT64_MAX,
                .message_deadline = INT64_MAX,
        };
}

static int64_t earlier(int64_t a, int64_t b) {
        return a < b ? a : b;
}

int64_t patience_deadline(const struct patience *p) {
        return earlier(p->deadline, p->message_deadline);
}

static bool is_parting(const struct patience *p) {
        return p->stage == PATIENCE_IDLE && deadline_left(p->farewell) > 0;
}

/* An order that was seen, and does not end this wait, would wake us for ever: its deadline does. */
static void watch(const struct patience *p, struct pollfd fds[static WATCHED]) {
        bool is_new = p->stop_deadline == INT64_MAX;

        fds[STOP] = (struct pollfd) { p->stage < PATIENCE_GIVEN || is_new ? p->stop_fd : -1, POLLIN,
                                      0 };
        fds[SOON] = (struct pollfd) { p->stage == PATIENCE_IDLE || is_new ? p->soon_fd : -1, POLLIN,
                                      0 };
        fds[CLIENT] = (struct pollfd) { p->stage < PATIENCE_GIVEN ? p->client : -1, 0, 0 };
}

/* What the descriptors say, but for the client's. */
static int judge(struct patience *p, const struct pollfd fds[static WATCHED]) {
        if (deadline_left(patience_deadline(p)) == 0)
                return -ETIME;
        if ((fds[STOP].revents || fds[SOON].revents) && p->stop_deadline == INT64_MAX)
                p->stop_deadline = deadline_after(p->stop_timeout);
        if (p->stop_deadline != INT64_MAX && deadline_left(p->stop_deadline) == 0)
                return -ECANCELED;
        if (p->stage < PATIENCE_GIVEN && fds[STOP].revents)
                return -ECANCELED;
        return p->stage == PATIENCE_IDLE && fds[SOON].revents ? -ECANCELED : 0;
}

/* poll(2), or its negative errno: then nothing is known of the descriptors, whose events are as
 * they were: none. */
static int look(struct pollfd *fds, size_t n, int64_t until) {
        int r = poll(fds, n, deadline_left(until));

        return r < 0 ? -errno : r;
}

int patience_check(struct patience *p) {
        struct pollfd fds[WATCHED];
        int r;

        watch(p, fds);
        look(fds, WATCHED, 0);
        r = judge(p, fds);
        return r == 0 && fds[CLIENT].revents ? -EPIPE : r;
}

const char *patience_reason(int error) {
        return error == -ETIME       ? "the deadline has passed"
               : error == -ECANCELED ? "shutting down"
               : error == -EPIPE     ? "the client has left"
                                     : strerror(-error);
}

/* Whether there are any. */
static bool take_events(struct pollfd *fds, const struct pollfd *polled, size_t n) {
        bool is_any = false;

        for (size_t i = 0; i < n; i++) {
                fds[i].revents = polled[i].revents;
                is_any |= fds[i].revents != 0;
        }
        return is_any;
}

/* What a client sent before it left is there to be read: that comes first. */
static int wait_with(struct patience *p, struct pollfd *fds, size_t n, int64_t until) {
        int64_t end = earlier(until, earlier(patience_deadline(p), p->stop_deadline));
        struct pollfd all[PATIENCE_FDS_MAX + WATCHED], *watched = all + n;
        int r, n_ready;
        bool parting = is_parting(p);

        assert(n <= PATIENCE_FDS_MAX);
        for (size_t i = 0; i < n; i++)
                all[i] = (struct pollfd) { fds[i].fd, fds[i].events, 0 };
        watch(p, watched);
        if (parting)
                watched[SOON].fd = -1;
        n_ready = look(all, n + WATCHED, parting ? earlier(end, p->farewell) : end);
        if ((r = judge(p, watched)) < 0)
                return r;
        if (take_events(fds, all, n))
                return 0;
        if (watched[CLIENT].revents)
                return -EPIPE;
        if (n_ready != 0) /* an error, or an order that leaves some time */
                return n_ready < 0 ? n_ready : -EINTR;
        if (parting && deadline_left(end) > 0)
                return -EINTR;
        return end == until ? -ETIMEDOUT : end == patience_deadline(p) ? -ETIME : -ECANCELED;
}

static int wait_alone(struct pollfd *fds, size_t n, int64_t until) {
        int n_ready;

        for (size_t i = 0; i < n; i++)
                fds[i].revents = 0;
        n_ready = look(fds, n, until);
        return n_ready > 0 ? 0 : n_ready == 0 ? -ETIMEDOUT : n_ready;
}

int patience_wait(struct patience *p, struct pollfd *fds, size_t n, int64_t until) {
        int r;

        do
                r = p ? wait_with(p, fds, n, until) : wait_alone(fds, n, until);
        while (r == -EINTR);
        return r;
}
