/* SPDX-License-Identifier: MIT */
/* sink.c - a server that takes everything, and speaks just enough SMTP for it.
 *
 *   sink smtp|raw
 *
 * Its port (on 127.0.0.1) is the first line of standard output. It serves one connection after
 * another, until its standard input ends. `raw` reads until the end of input, and says "250" then.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[1024 * 1024];

static int listen_on_loopback(void) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(a);
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        if (bind(fd, (struct sockaddr *) &a, size) < 0 || listen(fd, 10) < 0 ||
            getsockname(fd, (struct sockaddr *) &a, &size) < 0)
                err(1, "loopback");
        printf("%d\n", ntohs(a.sin_port));
        fflush(stdout);
        return fd;
}

static void say(int fd, const char *s) {
        if (send(fd, s, strlen(s), 0) < 0)
                warn("send");
}

/* Until CRLF.CRLF comes at the end of what is there: our senders wait then. */
static bool take_message(int fd) {
        char tail[5] = "";
        ssize_t n;

        while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
                size_t keep = n < 5 ? 5 - (size_t) n : 0, take = 5 - keep;

                memmove(tail, tail + 5 - keep, keep);
                memcpy(tail + keep, buffer + n - take, take);
                if (memcmp(tail, "\r\n.\r\n", 5) == 0)
                        return true;
        }
        return false;
}

/* Commands come whole, and several of them only together. */
static void serve_smtp(int fd) {
        char line[16 * 1024];
        ssize_t n;

        say(fd, "220 sink\r\n");
        while ((n = recv(fd, line, sizeof(line) - 1, 0)) > 0) {
                line[n] = '\0';
                for (char *p = line, *end; (end = strstr(p, "\r\n")); p = end + 2)
                        if (strncmp(p, "EHLO", 4) == 0)
                                say(fd,
                                    "250-sink\r\n250-PIPELINING\r\n250-SIZE 0\r\n250 8BITMIME\r\n");
                        else if (strncmp(p, "QUIT", 4) == 0) {
                                say(fd, "221 2.0.0 bye\r\n");
                                return;
                        } else if (strncmp(p, "DATA", 4) != 0)
                                say(fd, "250 2.0.0 OK\r\n");
                        else {
                                say(fd, "354 go on\r\n");
                                if (!take_message(fd))
                                        return;
                                say(fd, "250 2.0.0 taken\r\n");
                        }
        }
}

static void serve_raw(int fd) {
        while (recv(fd, buffer, sizeof(buffer), 0) > 0)
                ;
        say(fd, "250\r\n");
}

int main(int argc, char **argv) {
        int listener = listen_on_loopback();
        struct pollfd fds[] = { { .fd = listener, .events = POLLIN },
                                { .fd = STDIN_FILENO, .events = POLLIN } };

        if (argc != 2)
                errx(1, "usage: sink smtp|raw");
        signal(SIGPIPE, SIG_IGN);
        while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
                int fd = accept(listener, NULL, NULL), on = 1;

                if (fd < 0)
                        err(1, "accept");
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                if (strcmp(argv[1], "raw") == 0)
                        serve_raw(fd);
                else
                        serve_smtp(fd);
                close(fd);
        }
        return 0;
}
