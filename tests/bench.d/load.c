/* SPDX-License-Identifier: MIT */
/* load.c - how long a server takes for sessions of one message each, some of them at once.
 *
 *   load ADDRESS SESSIONS AT_ONCE
 *
 * ADDRESS is 127.0.0.1:PORT, [::1]:PORT or /SOCKET. Each session is a connection of its own that
 * waits for each reply; the next one begins when it has its 221 (or the end of the connection). The
 * nanoseconds from the first connect to the last 221 go to standard output. A reply that is not the
 * expected one ends it with an error: raise the server's limits.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE_MAX = 1000, PATIENCE = 30 * 1000 };

/* What is awaited, and what is said then. */
static const struct step {
        char code;
        const char *say;
} steps[] = {
        { '2', "EHLO bench\r\n" },
        { '2', "MAIL FROM:<a@b.example>\r\n" },
        { '2', "RCPT TO:<c@d.example>\r\n" },
        { '2', "DATA\r\n" },
        { '3', "From: a@b.example\r\nTo: c@d.example\r\nSubject: hello\r\n\r\nThe quick brown fox "
               "jumps over the lazy dog.\r\n.\r\n" },
        { '2', "QUIT\r\n" },
        { '2', NULL },
};

struct session {
        int fd;
        size_t step, n;
        char reply[4096];
};

static struct session sessions[AT_ONCE_MAX];
static union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
} address;
static socklen_t n_address;
static int epoll_fd;

static uint64_t now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static void parse_address(char *s) {
        char *colon = strrchr(s, ':');

        if (*s == '/' && strlen(s) < sizeof(address.local.sun_path)) {
                address.local.sun_family = AF_UNIX;
                strcpy(address.local.sun_path, s);
                n_address = sizeof(address.local);
                return;
        }
        if (!colon)
                errx(1, "%s: ADDRESS:PORT or /SOCKET", s);
        *colon = '\0';
        address.v4.sin_port = htons((uint16_t) atoi(colon + 1)); /* the same place in both */
        if (*s == '[') {
                colon[-1] = '\0';
                address.v6.sin6_family = AF_INET6;
                n_address = sizeof(address.v6);
        } else {
                address.v4.sin_family = AF_INET;
                n_address = sizeof(address.v4);
        }
        if (*s == '[' ? inet_pton(AF_INET6, s + 1, &address.v6.sin6_addr) != 1
                      : inet_pton(AF_INET, s, &address.v4.sin_addr) != 1)
                errx(1, "%s: no address", s);
}

static void begin(struct session *s) {
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = s };
        int on = 1;

        *s = (struct session) { .fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC,
                                             0) };
        if (s->fd < 0 || connect(s->fd, &address.any, n_address) < 0 ||
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &e) < 0)
                err(1, "connect");
        if (address.any.sa_family != AF_UNIX)
                setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* Where the last line of a whole reply begins; NULL if there is more to come. */
static const char *last_line(const struct session *s) {
        const char *line = s->reply;

        if (s->n < 6 || s->reply[s->n - 1] != '\n')
                return NULL;
        for (const char *p = s->reply; p < s->reply + s->n - 1; p++)
                if (*p == '\n')
                        line = p + 1;
        return line[3] == ' ' ? line : NULL;
}

/* Returns whether the session is over. */
static bool go_on(struct session *s) {
        ssize_t n = recv(s->fd, s->reply + s->n, sizeof(s->reply) - s->n, 0);
        const char *line;

        if (n <= 0)
                errx(1, "the connection ended in step %zu (%s)", s->step,
                     n < 0 ? strerror(errno) : "closed");
        s->n += (size_t) n;
        line = last_line(s);
        if (!line)
                return false;
        if (*line != steps[s->step].code)
                errx(1, "in step %zu: %.*s", s->step, (int) s->n, s->reply);
        s->n = 0;
        if (!steps[s->step].say) {
                close(s->fd);
                return true;
        }
        if (send(s->fd, steps[s->step].say, strlen(steps[s->step].say), MSG_NOSIGNAL) < 0)
                err(1, "send");
        s->step++;
        return false;
}

int main(int argc, char **argv) {
        int left = argc == 4 ? atoi(argv[2]) : 0, at_once = argc == 4 ? atoi(argv[3]) : 0,
            running = 0;
        uint64_t from;

        if (left < 1 || at_once < 1 || at_once > AT_ONCE_MAX)
                errx(1, "usage: load ADDRESS SESSIONS AT_ONCE");
        parse_address(argv[1]);
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        from = now();
        for (; running < at_once && left > 0; running++, left--)
                begin(sessions + running);
        while (running > 0) {
                struct epoll_event events[64];
                int n = epoll_wait(epoll_fd, events, 64, PATIENCE);

                if (n <= 0)
                        errx(1, "the server does not answer");
                for (int i = 0; i < n; i++)
                        if (go_on(events[i].data.ptr)) {
                                if (left > 0) {
                                        begin(events[i].data.ptr);
                                        left--;
                                } else
                                        running--;
                        }
        }
        printf("%llu\n", (unsigned long long) (now() - from));
        return 0;
}
