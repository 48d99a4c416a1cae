/* SPDX-License-Identifier: MIT */
/* world.c - the world around smtpd: a client that plays a session, and servers to which mail is
 * passed on. One process, one loop; each of them can vanish at a given octet.
 *
 * The session is a file of steps: a line "OCTETS REPLIES CLASS NEXT ELSE", and so many octets to
 * say. The replies are waited for; NEXT is the step after that if all of them begin with the digit
 * CLASS, or else ELSE; with "L" only the last one counts, and must be a 3xx. A step 999 is the end.
 * In the octets "@@TOKEN@" becomes the number of the run.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sweep.h"

enum { STEPS = 64, CONNECTIONS = 64, INPUT = 256 * 1024, NOBODY = -1 };

struct step {
        char *text;
        size_t n;
        int n_replies, next, otherwise;
        char class;
};

struct connection {
        int fd;
        char who;     /* 'c', 'u', 'm' */
        bool is_mute; /* says no more */
        bool is_data; /* between DATA and the final dot */
        size_t n, n_out;
        char *in, out[8192];
        char sender[4096];
        size_t n_recipients, n_to;
        char to[64 * 1024]; /* the recipients, each with LF */
};

static struct step steps[STEPS];
static int n_steps;
static struct connection connections[CONNECTIONS];
static int n_connections;
static int listeners[N_SERVERS];
static bool is_lmtp_upstream, is_refusing;

static const struct run *the_run;
static struct report *the_report;
static size_t n_said[128]; /* by who */
static bool is_gone[128];
static int at_step, n_replies;
static bool is_good;
static int event_fd;   /* the tracer wants something: see do_at_wait() */
static bool is_silent; /* nobody says anything any more */
static bool is_hushed; /* no server does */
static bool is_frozen; /* nobody hears anything, until the session is over */

/* --- the report ------------------------------------------------------------------------------- */

static void put(const void *data, size_t n) {
        if (n > sizeof(the_report->text) - the_report->n)
                _exit(99);
        memcpy(the_report->text + the_report->n, data, n);
        the_report->n += n;
}

__attribute__((format(printf, 1, 2))) static void put_line(const char *format, ...) {
        char line[4096];
        va_list ap;

        va_start(ap, format);
        vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        put(line, strlen(line));
}

/* A record: its kind, and octets. */
static void put_octets(char kind, const void *data, size_t n) {
        put_line("%c %zu\n", kind, n);
        put(data, n);
}

/* --- sending, and vanishing ------------------------------------------------------------------- */

static void leave(struct connection *c) {
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

static void say(struct connection *c, const char *text, size_t n) {
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

/* --- servers ---------------------------------------------------------------------------------- */

static bool is_lmtp(const struct connection *c) {
        return c->who == 'm' || is_lmtp_upstream;
}

/* What was asked together is answered together: so the program's calls are the same in each run. */
static void answer(struct connection *c, const char *text) {
        if (strlen(text) > sizeof(c->out) - c->n_out)
                _exit(97);
        memcpy(c->out + c->n_out, text, strlen(text));
        c->n_out += strlen(text);
}

static void flush(struct connection *c) {
        size_t n = c->n_out;

        if (n > 0)
                put_octets(c->who == 'u' ? 'U' : 'L', c->out, n);
        c->n_out = 0;
        say(c, c->out, n);
}

static void forget(struct connection *c) {
        c->sender[0] = '\0';
        c->n_recipients = c->n_to = 0;
}

static bool begins(const char *line, const char *word) {
        return strncasecmp(line, word, strlen(word)) == 0;
}

static void hear_recipient(struct connection *c, const char *line) {
        size_t n = strlen(line);

        if (!*c->sender)
                put_line("X RCPT before MAIL\n");
        if (c->who == 'm' && !strstr(line, "list")) {
                answer(c, "550 Requested action not taken: mailbox unavailable\r\n");
                return;
        }
        memcpy(c->to + c->n_to, line, n);
        c->n_to += n;
        c->to[c->n_to++] = '\n';
        c->n_recipients++;
        answer(c, "250 2.1.5 recipient fine\r\n");
}

static void hear_command(struct connection *c, const char *line) {
        if (begins(line, is_lmtp(c) ? "LHLO " : "EHLO ")) {
                forget(c);
                answer(c, c->who == 'm'
                                  ? "250-mailman.example\r\n250-SIZE 33554432\r\n250 8BITMIME\r\n"
                                  : "250-up.example\r\n250-PIPELINING\r\n250-SIZE "
                                    "10485760\r\n250-8BITMIME\r\n"
                                    "250-SMTPUTF8\r\n250-DSN\r\n250-LIMITS RCPTMAX=50\r\n250-AUTH "
                                    "PLAIN\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n");
        } else if (strcmp(line, "STARTTLS") == 0)
                answer(c, "220 2.0.0 go on\r\n");
        else if (strcmp(line, "AUTH PLAIN") == 0)
                answer(c, "334 \r\n");
        else if (begins(line, "AUTH PLAIN ") || strcmp(line, "AGEAYg==") == 0)
                answer(c, "235 2.7.0 welcome\r\n");
        else if (begins(line, "MAIL FROM:") && !*c->sender) {
                snprintf(c->sender, sizeof(c->sender), "%.4000s", line + 10);
                answer(c, "250 2.1.0 sender fine\r\n");
        } else if (begins(line, "RCPT TO:"))
                hear_recipient(c, line + 8);
        else if (begins(line, "RSET")) {
                forget(c);
                answer(c, "250 2.0.0 forgotten\r\n");
        } else if (begins(line, "DATA") && c->n_recipients > 0) {
                c->is_data = true;
                answer(c, "354 go on\r\n");
        } else if (begins(line, "QUIT")) {
                answer(c, "221 2.0.0 bye\r\n");
                flush(c);
                leave(c);
        } else {
                put_line("X %c heard %.200s\n", c->who, line);
                answer(c, "500 5.5.1 what?\r\n");
        }
}

/* A whole message. It is taken, if it is, before that is said. */
static void take(struct connection *c, size_t n) {
        size_t n_verdicts = is_lmtp(c) ? c->n_recipients : 1;
        char text[4096] = "";

        if (!is_refusing) {
                put_line("M %c %zu %zu %zu\n", c->who, strlen(c->sender), c->n_to, n);
                put(c->sender, strlen(c->sender));
                put(c->to, c->n_to);
                put(c->in, n);
        }
        for (size_t i = 0; i < n_verdicts; i++)
                snprintf(text + strlen(text), sizeof(text) - strlen(text),
                         is_refusing ? "451 4.2.2 full %zu\r\n" : "250 2.0.0 taken %zu\r\n", i + 1);
        forget(c);
        c->is_data = false;
        answer(c, text);
}

static void drop(struct connection *c, size_t n) {
        c->n -= n;
        memmove(c->in, c->in + n, c->n);
}

/* false when more has to come. */
static bool hear_message(struct connection *c) {
        char *end = c->n >= 3 && memcmp(c->in, ".\r\n", 3) == 0
                            ? c->in - 2
                            : memmem(c->in, c->n, "\r\n.\r\n", 5);
        size_t n;

        if (!end)
                return false;
        n = (size_t) (end + 2 - c->in);
        take(c, n);
        if (c->fd >= 0)
                drop(c, n + 3);
        return true;
}

static bool hear_line(struct connection *c) {
        char line[8192], *end = memmem(c->in, c->n, "\r\n", 2);
        size_t n;

        if (!end)
                return false;
        n = (size_t) (end - c->in);
        if (n >= sizeof(line) || memchr(c->in, '\n', n) || memchr(c->in, '\r', n) ||
            memchr(c->in, '\0', n))
                put_line("X %c heard a malformed line\n", c->who);
        n = n < sizeof(line) ? n : sizeof(line) - 1;
        memcpy(line, c->in, n);
        line[n] = '\0';
        drop(c, (size_t) (end + 2 - c->in));
        if (begins(line, "DATA") && c->n > 0)
                put_line("X %c heard more behind DATA\n", c->who);
        hear_command(c, line);
        return true;
}

/* --- the client ------------------------------------------------------------------------------- */

static void do_step(struct connection *c) {
        struct step *s = &steps[at_step];
        char *token;

        n_replies = 0;
        is_good = true;
        if (at_step >= n_steps)
                return;
        while ((token = memmem(s->text, s->n, "@@TOKEN@", 8))) {
                char number[9];

                snprintf(number, sizeof(number), "%08lu", the_run->token % 100000000);
                memcpy(token, number, 8);
        }
        if (s->n > 0)
                say(c, s->text, s->n);
}

/* A reply: it ends with a line that has no "-". */
static bool hear_reply(struct connection *c) {
        char *end = memmem(c->in, c->n, "\r\n", 2);
        bool is_last, is_closing;

        if (!end)
                return false;
        is_last = end - c->in < 4 || c->in[3] != '-';
        is_closing = end - c->in >= 3 && memcmp(c->in, "421", 3) == 0;
        if (is_last) {
                put_line("C %d %.*s\n", at_step, (int) (end - c->in < 3 ? end - c->in : 3), c->in);
                n_replies++;
                if (at_step < n_steps && steps[at_step].class == 'L')
                        is_good = c->in[0] == '3';
                else
                        is_good &= at_step < n_steps && c->in[0] == steps[at_step].class;
        }
        drop(c, (size_t) (end + 2 - c->in));
        if (is_closing)
                at_step = STEPS;
        else if (is_last && at_step < n_steps && n_replies == steps[at_step].n_replies) {
                at_step = is_good ? steps[at_step].next : steps[at_step].otherwise;
                do_step(c);
        }
        return true;
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
        struct connection *c;

        if (fd < 0)
                return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (is_gone[(unsigned char) who]) {
                close(fd);
                return;
        }
        c = add(fd, who);
        answer(c, who == 'm'         ? "220 mailman.example LMTP\r\n"
                  : is_lmtp_upstream ? "220 up.example LMTP\r\n"
                                     : "220 up.example ESMTP\r\n");
        flush(c);
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
        do_step(c);
        while (turn(over, &is_over))
                ;
        for (int i = 0; i < n_connections; i++)
                if (connections[i].fd >= 0)
                        put_line("X %c is still connected\n", connections[i].who);
        put_line("Z\n");
}

/* --- before it begins ------------------------------------------------------------------------- */

static int listen_on(const void *address, socklen_t n, int family) {
        int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0 || bind(fd, address, n) < 0 || listen(fd, 100) < 0)
                err(1, "listen");
        return fd;
}

static int listen_tcp(char ret[128]) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t n = sizeof(a);
        int fd = listen_on(&a, n, AF_INET);

        getsockname(fd, (struct sockaddr *) &a, &n);
        snprintf(ret, 128, "127.0.0.1:%d", ntohs(a.sin_port));
        return fd;
}

static int listen_local(const char *folder, char ret[128]) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };

        if ((size_t) snprintf(a.sun_path, sizeof(a.sun_path), "%s/upstream", folder) >=
            sizeof(a.sun_path))
                errx(1, "the name of the folder is too long");
        strcpy(ret, a.sun_path);
        return listen_on(&a, sizeof(a), AF_UNIX);
}

/* The upstream is "smtp" over TCP, or "lmtp" over a local socket, and in capitals refuses each
 * message at its end; Mailman is always LMTP over TCP. */
void world_listen(const char *folder, const char *upstream, char ret_names[N_SERVERS][128]) {
        is_lmtp_upstream = strcasecmp(upstream, "lmtp") == 0;
        is_refusing = *upstream < 'a';
        listeners[0] =
                is_lmtp_upstream ? listen_local(folder, ret_names[0]) : listen_tcp(ret_names[0]);
        listeners[1] = listen_tcp(ret_names[1]);
}

void world_load(const char *session) {
        FILE *file = fopen(session, "re");

        if (!file)
                err(1, "%s", session);
        for (n_steps = 0; n_steps < STEPS; n_steps++) {
                struct step *s = &steps[n_steps];

                if (fscanf(file, "%zu %d %c %d %d", &s->n, &s->n_replies, &s->class, &s->next,
                           &s->otherwise) != 5 ||
                    fgetc(file) != '\n')
                        break;
                s->text = malloc(s->n + 1);
                if (fread(s->text, 1, s->n, file) != s->n)
                        errx(1, "%s: step %d is cut", session, n_steps);
        }
        fclose(file);
}
