/* SPDX-License-Identifier: MIT */
/* world.c - the world around smtpd: a client that plays a session (client.c), and servers to which
 * mail is passed on (servers.c). One process, one loop; each of them can vanish at a given octet.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "world.h"

enum { CONNECTIONS = 64, INPUT = 256 * 1024, NOBODY = -1 };

static struct connection connections[CONNECTIONS];
static int n_connections;

static const struct run *the_run;
static struct report *the_report;
static size_t n_said[128]; /* by who */
static bool is_gone[128];
static int event_fd;   /* the tracer wants something: see do_at_wait() */
static bool is_silent; /* nobody says anything any more */
static bool is_hushed; /* no server does */
static bool is_frozen; /* nobody hears anything, until the session is over */

/* --- the report ------------------------------------------------------------------------------- */

void put(const void *data, size_t n) {
        if (n > sizeof(the_report->text) - the_report->n)
                _exit(99);
        memcpy(the_report->text + the_report->n, data, n);
        the_report->n += n;
}

void put_line(const char *format, ...) {
        char line[4096];
        va_list ap;

        va_start(ap, format);
        vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        put(line, strlen(line));
}

/* A record: its kind, and octets. */
void put_octets(char kind, const void *data, size_t n) {
        put_line("%c %zu\n", kind, n);
        put(data, n);
}

/* --- sending, and vanishing ------------------------------------------------------------------- */

void leave(struct connection *c) {
        if (c->fd >= 0)
                close(c->fd);
        c->fd = NOBODY;
        free(c->in);
        c->in = NULL;
        c->n = 0;
}

static void vanish(struct connection *c, int how) {
        const struct linger linger = { 1, 0 };

        c->is_mute = true;
        switch (how) {
        case CUT_RESET:
                setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger,
                           sizeof(linger)); /* fall through */
        case CUT_CLOSE: leave(c); break;
        case CUT_HALF: shutdown(c->fd, SHUT_WR); break;
        case CUT_SILENT: break;
        }
        put_line("V\n");
}

/* What the tracer wants. It waits until that was done. */
static void do_at_wait(void) {
        struct connection *client = &connections[0];
        int what = the_report->at_wait;
        eventfd_t n;

        eventfd_read(event_fd, &n);
        is_silent = what & (WAIT_MUTE | WAIT_FROZEN);
        is_hushed |= (what & WAIT_HUSHED) != 0;
        is_frozen = what & WAIT_FROZEN;
        if (what & (WAIT_LEAVE | WAIT_CLOSE) && client->fd >= 0)
                vanish(client, what & WAIT_LEAVE ? CUT_RESET : CUT_CLOSE);
        the_report->at_wait = 0;
}

/* Whoever does not listen has ended, or shows in the report. */
static void send_all(const struct connection *c, const char *text, size_t n) {
        while (n > 0 && c->fd >= 0 && !is_silent) {
                struct pollfd fds[] = { { c->fd, POLLOUT, 0 }, { event_fd, POLLIN, 0 } };
                ssize_t k = send(c->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (k < 0 && errno != EAGAIN)
                        return;
                the_report->is_sending = k >= 0; /* what does not fit is not on its way */
                if (k < 0 && poll(fds, 2, RUN_SECONDS * 2000) > 0 && fds[1].revents)
                        do_at_wait();
                if (k > 0)
                        text += k, n -= (size_t) k;
        }
}

void say(struct connection *c, const char *text, size_t n) {
        bool is_cut = c->who == the_run->cut.who;
        size_t *said = &n_said[(unsigned char) c->who], at = (size_t) the_run->cut.at;

        if (c->is_mute || is_silent || (is_hushed && c->who != 'c') || c->fd < 0)
                return;
        is_cut =
                is_cut && *said <= at && (the_run->cut.is_eager ? *said + n >= at : *said + n > at);
        if (is_cut)
                n = at - *said;
        the_report->is_sending = 1;
        send_all(c, text, n);
        the_report->is_sending = 0;
        *said += n;
        if (is_cut) {
                *said = SIZE_MAX / 2; /* once */
                is_gone[(unsigned char) c->who] = the_run->cut.is_gone;
                vanish(c, the_run->cut.how);
        }
}

/* --- the loop --------------------------------------------------------------------------------- */

static struct connection *add(int fd, char who) {
        struct connection *c = &connections[n_connections++];

        if (n_connections == CONNECTIONS)
                _exit(98);
        c->fd = fd;
        c->who = who;
        c->in = malloc(INPUT);
        return c;
}

static void accept_one(int i) {
        int fd = accept4(listeners[i], NULL, NULL, SOCK_CLOEXEC), on = 1;
        char who = "um"[i];

        if (fd < 0)
                return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (is_gone[(unsigned char) who]) {
                close(fd);
                return;
        }
        greet(add(fd, who));
}

void drop(struct connection *c, size_t n) {
        c->n -= n;
        memmove(c->in, c->in + n, c->n);
}

static void hear(struct connection *c) {
        ssize_t n = recv(c->fd, c->in + c->n, INPUT - c->n, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                put_line("E %c %s\n", c->who, n < 0 ? strerrorname_np(errno) : "end");
                leave(c);
                return;
        }
        if (c->who == 'c')
                put_octets('H', c->in + c->n, (size_t) n);
        c->n += (size_t) n;
        while (c->fd >= 0 && (c->who == 'c' ? hear_reply(c)
                              : c->is_data  ? hear_message(c)
                                            : hear_line(c)))
                ;
        flush(c);
}

static bool is_anybody_there(void) {
        for (int i = 0; i < n_connections; i++)
                if (connections[i].fd >= 0)
                        return true;
        return false;
}

/* Waits, and does what there is to do. false when that was nothing. `over` is readable when smtpd
 * is dead. */
static bool turn(int over, bool *is_over) {
        struct pollfd fds[CONNECTIONS + N_SERVERS + 2];
        bool is_deaf = is_frozen && !*is_over;
        int n = n_connections, r;

        for (int i = 0; i < n; i++)
                fds[i] = (struct pollfd) { .fd = is_deaf ? NOBODY : connections[i].fd,
                                           .events = POLLIN };
        for (int i = 0; i < N_SERVERS; i++)
                fds[n + i] =
                        (struct pollfd) { .fd = is_deaf ? NOBODY : listeners[i], .events = POLLIN };
        fds[n + N_SERVERS] = (struct pollfd) { .fd = *is_over ? NOBODY : over, .events = POLLIN };
        fds[n + N_SERVERS + 1] = (struct pollfd) { .fd = event_fd, .events = POLLIN };
        r = poll(fds, (nfds_t) n + N_SERVERS + 2,
                 *is_over ? (is_anybody_there() ? 1000 : 0) : RUN_SECONDS * 2000);
        if (r <= 0)
                return false;
        *is_over |= fds[n + N_SERVERS].revents != 0;
        if (fds[n + N_SERVERS + 1].revents) {
                do_at_wait();
                return true;
        }
        for (int i = 0; i < N_SERVERS; i++)
                if (fds[n + i].revents)
                        accept_one(i);
        for (int i = 0; i < n; i++)
                if (fds[i].revents && connections[i].fd >= 0)
                        hear(&connections[i]);
        return true;
}

void world_play(const struct run *r, int client, int over, int event, struct report *report) {
        bool is_over = false;
        struct connection *c;

        the_run = r;
        the_report = report;
        event_fd = event;
        c = add(client, 'c');
        begin_session(c, r->token);
        while (turn(over, &is_over))
                ;
        for (int i = 0; i < n_connections; i++)
                if (connections[i].fd >= 0)
                        put_line("X %c is still connected\n", connections[i].who);
        put_line("Z\n");
}
