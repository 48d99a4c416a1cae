/* SPDX-License-Identifier: MIT */
/* engine.c - a TLS engine that speaks no TLS: what it is given it passes on as it is. The
 * contract is that of smtpd-tls(8), so a session takes it for TLS, and the client of the world
 * need not know any.
 *
 * engine SOCKET
 * engine -
 *
 * The second is for upstreams: descriptor 0 is where it is asked, as by the sessions of an
 * acceptor. A process for each connection; all end with the first one. Nothing leaves the session's
 * side before the connection has it.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LINGER = 2000, PIECE = 16384, CONNECTION = 0, CONTROL, PLAIN, PASSED };

static long now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* One direction. */
struct way {
        int from, to;
        bool is_outward, is_blocked, is_over;
};

/* As much as goes without waiting. What the session cannot take any more is dropped; what the
 * connection cannot take stays where it is, so that the session knows. */
static void pass_on(struct way *w) {
        char piece[PIECE];
        ssize_t n = recv(w->from, piece, sizeof(piece), MSG_PEEK | MSG_DONTWAIT), k = n;

        if (n < 0 && errno != EAGAIN && errno != EINTR)
                exit(EXIT_SUCCESS); /* a reset */
        if (n > 0)
                k = send(w->to, piece, (size_t) n, MSG_DONTWAIT | MSG_NOSIGNAL);
        w->is_blocked = n > 0 && k < 0 && errno == EAGAIN;
        if (n > 0 && k < 0 && !w->is_blocked) {
                if (w->is_outward)
                        exit(EXIT_SUCCESS);
                k = n;
        }
        if (k > 0)
                recv(w->from, piece, (size_t) k, MSG_DONTWAIT);
        w->is_over = n == 0;
        if (w->is_over)
                shutdown(w->to, SHUT_WR);
}

static struct pollfd wait_of(const struct way *w) {
        return (struct pollfd) { .fd = w->is_over      ? -1
                                       : w->is_blocked ? w->to
                                                       : w->from,
                                 .events = w->is_blocked ? POLLOUT : POLLIN };
}

static void relay(int connection, int plain) {
        struct way in = { .from = connection, .to = plain };
        struct way out = { .from = plain, .to = connection, .is_outward = true };
        long until = 0;

        while (!in.is_over || !out.is_over) {
                struct pollfd fds[] = { wait_of(&in), wait_of(&out) };
                int left = until ? (int) (until - now()) : -1;

                if (until && left <= 0)
                        return;
                if (poll(fds, 2, left) < 0 && errno != EINTR)
                        return;
                if (fds[0].revents)
                        pass_on(&in);
                if (fds[1].revents)
                        pass_on(&out);
                if (out.is_over && !until)
                        until = now() + LINGER;
        }
}

/* Three descriptors in one message; ends if the session wants nothing. */
static void receive(int request, char kind, int ret[static PASSED]) {
        char octets[1024];
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(PASSED * sizeof(int))];
        } control;
        struct iovec v = { octets, sizeof(octets) };
        struct msghdr m = { .msg_iov = &v,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof(control) };
        ssize_t n = recvmsg(request, &m, MSG_CMSG_CLOEXEC);
        const struct cmsghdr *c = CMSG_FIRSTHDR(&m);

        if (n < 2 || octets[0] != kind || octets[1] || !c ||
            c->cmsg_len != CMSG_LEN(PASSED * sizeof(int)))
                exit(EXIT_SUCCESS);
        memcpy(ret, CMSG_DATA(c), PASSED * sizeof(int));
}

_Noreturn static void serve(int request, const int fds[static PASSED]) {
        static const char answer[] = "SSL_PROTOCOL=TLSv1.3\0SSL_CIPHER=NONE\0";

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(request);
        if (send(fds[CONTROL], answer, sizeof(answer), MSG_NOSIGNAL) == sizeof(answer))
                relay(fds[CONNECTION], fds[PLAIN]);
        exit(EXIT_SUCCESS);
}

static void be_ready(void) {
        signal(SIGCHLD, SIG_IGN);
        puts("ready");
        fflush(stdout);
}

_Noreturn static void serve_upstreams(void) {
        int request = dup(STDIN_FILENO), fds[PASSED];

        close(STDIN_FILENO); /* its number is a connection's */
        be_ready();
        for (;;) {
                receive(request, 'C', fds);
                if (fork() == 0)
                        serve(request, fds);
                for (int i = 0; i < PASSED; i++)
                        close(fds[i]);
        }
}

static int serve_clients(const char *path) {
        struct sockaddr_un name = { .sun_family = AF_UNIX };
        int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), request, fds[PASSED];

        if (strlen(path) >= sizeof(name.sun_path))
                return EXIT_FAILURE;
        strcpy(name.sun_path, path);
        if (bind(listener, (const struct sockaddr *) &name, sizeof(name)) < 0 ||
            listen(listener, 8) < 0)
                return EXIT_FAILURE;
        be_ready();
        while ((request = accept(listener, NULL, NULL)) >= 0) {
                if (fork() == 0) {
                        prctl(PR_SET_PDEATHSIG, SIGKILL);
                        close(listener);
                        receive(request, 'Y', fds);
                        serve(request, fds);
                }
                close(request);
        }
        return EXIT_FAILURE;
}

int main(int argc, char **argv) {
        if (argc != 2)
                return EXIT_FAILURE;
        if (strcmp(argv[1], "-") == 0)
                serve_upstreams();
        return serve_clients(argv[1]);
}
