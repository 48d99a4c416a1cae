/* SPDX-License-Identifier: MIT */
/* servers.c - the servers to which mail is passed on: the upstream, and Mailman. */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "world.h"

int listeners[N_SERVERS];
static bool is_lmtp_upstream, is_refusing;

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

/* --- what they answer ------------------------------------------------------------------------- */

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

void flush(struct connection *c) {
        size_t n = c->n_out;

        if (n > 0)
                put_octets(c->who == 'u' ? 'U' : 'L', c->out, n);
        c->n_out = 0;
        say(c, c->out, n);
}

void greet(struct connection *c) {
        answer(c, c->who == 'm'      ? "220 mailman.example LMTP\r\n"
                  : is_lmtp_upstream ? "220 up.example LMTP\r\n"
                                     : "220 up.example ESMTP\r\n");
        flush(c);
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

/* false when more has to come. */
bool hear_message(struct connection *c) {
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

bool hear_line(struct connection *c) {
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
