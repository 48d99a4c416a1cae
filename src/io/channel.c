/* SPDX-License-Identifier: MIT */
/* io/channel.c - the connection to a peer. */
#include "io/channel.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/array.h"
#include "io/deadline.h"
#include "io/fd.h"

enum { LINGER_SECONDS = 2, PAUSE = 10 /* milliseconds */ };

void channel_init(struct channel *c, int in, int out, struct patience *p) {
        c->in = in;
        c->out = out;
        c->wire = -1;
        c->patience = p;
        c->timeout = 0;
        c->deadline = INT64_MAX;
        c->linger_deadline = INT64_MAX;
        c->n_out = 0;
        c->error = 0;
}

static int64_t earlier(int64_t a, int64_t b) {
        return a < b ? a : b;
}

static int64_t next_deadline(const struct channel *c) {
        return earlier(deadline_after(c->timeout), c->deadline);
}

/* When all is to end, a peer has LINGER_SECONDS from the first time that we have to wait for it.
 * What it has not taken then is not said. */
int channel_flush(struct channel *c) {
        const char *data = c->out_buffer;
        size_t n = c->n_out;
        int r = c->error;

        c->n_out = 0;
        if (r < 0 || n == 0)
                return r;
        if (c->linger_deadline == INT64_MAX)
                r = fd_write(c->out, c->patience, &data, &n, next_deadline(c));
        if (r == -ECANCELED)
                c->linger_deadline = deadline_after(LINGER_SECONDS);
        if (c->linger_deadline != INT64_MAX)
                r = fd_write_all(c->out, data, n, earlier(c->linger_deadline, next_deadline(c)));
        return c->error = r == -ETIMEDOUT && c->linger_deadline != INT64_MAX ? -ECANCELED : r;
}

int channel_write(struct channel *c, const char *data, size_t n) {
        while (n > 0) {
                size_t room = CHANNEL_OUT - c->n_out, part = n < room ? n : room;
                int r;

                memcpy(c->out_buffer + c->n_out, data, part);
                c->n_out += part;
                data += part;
                n -= part;
                if (c->n_out == CHANNEL_OUT && (r = channel_flush(c)) < 0)
                        return r;
        }
        return 0;
}

/* Waits until there is input. 0, or the negative errno of channel_read(). */
static int wait_for_input(struct channel *c) {
        struct pollfd fd = { .fd = c->in, .events = POLLIN };
        int64_t deadline = next_deadline(c);
        int r;

        if (deadline_left(c->deadline) == 0)
                return -ETIME; /* also for a peer that always has something to say */
        r = patience_wait(c->patience, &fd, 1, deadline);
        return r == -ETIMEDOUT && deadline == c->deadline ? -ETIME : r;
}

int64_t channel_read(struct channel *c, char **ret) {
        int r = channel_flush(c);

        *ret = c->in_buffer;
        while (r == 0) {
                ssize_t n;

                r = wait_for_input(c);
                if (r < 0)
                        break;
                n = read(c->in, c->in_buffer, sizeof(c->in_buffer));
                if (n >= 0)
                        return n;
                if (errno != EINTR && errno != EAGAIN)
                        return -errno;
        }
        return r;
}

int64_t channel_peek(struct channel *c, char *ret, size_t room, int64_t deadline) {
        struct pollfd fd = { .fd = c->in, .events = POLLIN };
        int r = 0;

        while ((r = patience_wait(c->patience, &fd, 1, deadline)) == 0) {
                ssize_t n = recv(c->in, ret, room, MSG_PEEK | MSG_DONTWAIT);

                if (n >= 0)
                        return n;
                if (errno != EINTR && errno != EAGAIN)
                        return -errno;
        }
        return r;
}

int channel_take(struct channel *c, size_t n) {
        while (n > 0) {
                size_t part = n < sizeof(c->in_buffer) ? n : sizeof(c->in_buffer);
                ssize_t taken = recv(c->in, c->in_buffer, part, 0);

                if (taken < 0 && errno != EINTR && errno != EAGAIN)
                        return -errno;
                if (taken == 0)
                        return -ECONNRESET;
                n -= taken > 0 ? (size_t) taken : 0;
        }
        return 0;
}

bool channel_has_input(const struct channel *c) {
        struct pollfd fd = { .fd = c->in, .events = POLLIN };

        return poll(&fd, 1, 0) > 0;
}

bool channel_is_reset(const struct channel *c) {
        struct pollfd fds[] = { { .fd = c->out }, { .fd = c->wire } };

        return poll(fds, ELEMENTS(fds), 0) > 0 && (fds[0].revents | fds[1].revents) & POLLERR;
}

/* What is on its way, in octets; or, for a socket of this host, memory. -1: who knows. The wire is
 * last: what leaves `out` meanwhile is found there. */
static int count_unheard(const struct channel *c) {
        int n_out = 0, n_wire = 0;

        if (ioctl(c->out, SIOCOUTQ, &n_out) < 0)
                return -1;
        if (c->wire >= 0 && ioctl(c->wire, SIOCOUTQ, &n_wire) < 0)
                return -1;
        return n_out + n_wire;
}

bool channel_is_heard(const struct channel *c) {
        int n = count_unheard(c);

        return n < 0 || (n == 0 && !channel_is_reset(c));
}

/* To the end of input, or the deadline. 0, or -1 if the connection is lost. */
static ssize_t read_rest(struct channel *c, int64_t deadline) {
        struct pollfd fd = { .fd = c->in, .events = POLLIN };
        ssize_t n = 1;

        while (n > 0 && poll(&fd, 1, deadline_left(deadline)) > 0)
                n = read(c->in, c->in_buffer, sizeof(c->in_buffer));
        return n < 0 ? -1 : 0;
}

/* The end of TLS is something to hear as well. A client that has left after the last reply resets
 * the connection for it, and then nobody knows any more what it had acknowledged. Its word comes at
 * once, or a little later with that of its own end. */
static bool is_heard_soon(const struct channel *c, int64_t deadline) {
        struct pollfd out = { .fd = c->out };
        int pause = 1;

        while (count_unheard(c) > 0 && deadline_left(deadline) > 0 && poll(&out, 1, pause) == 0)
                pause = pause < PAUSE ? 2 * pause : PAUSE;
        return channel_is_heard(c);
}

bool channel_hang_up(struct channel *c) {
        int64_t deadline = earlier(c->linger_deadline, deadline_after(LINGER_SECONDS));
        bool is_heard;
        int n_unheard;

        if (channel_flush(c) < 0)
                return false;
        is_heard = c->wire >= 0 && is_heard_soon(c, deadline);
        if (shutdown(c->out, SHUT_WR) < 0)
                return errno == ENOTSOCK;
        if (read_rest(c, deadline) < 0 || is_heard)
                return is_heard;
        do { /* it has ended its side, and acknowledges what is still on its way */
                n_unheard = count_unheard(c);
                if (n_unheard < 0 || channel_is_reset(c))
                        return false;
                /* on TCP, our end is one, too */
        } while (n_unheard > 1 && deadline_left(deadline) > 0 && poll(NULL, 0, PAUSE) == 0);
        return n_unheard <= 1;
}
