/* SPDX-License-Identifier: MIT */
/* relay.c - how fast programs pass a large message on, from one loopback TCP connection to another,
 * in turns.
 *
 *   relay DIRECTORY OCTETS ROUNDS PROGRAM...
 *
 * A PROGRAM is a string of words: "session /path/smtpd --strategy=proxy --upstream=..." (a dialogue
 * up to DATA comes first, and the final dot ends the message), or "raw socat ..." (the end of input
 * ends it). Its standard input and output are the connection, standard error is /dev/null,
 * DIRECTORY is its TMPDIR. Both pass on to a receiver that says 250 when it has all (sink.c). Per
 * round there is one line, the nanoseconds of each program, from the first octet of the message
 * until that 250 has come back.
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1024 * 1024, LINE = 78, WORDS = 16 };

static uint64_t octets;
static char buffer[BUFFER / LINE * LINE]; /* whole lines */

static uint64_t now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static void fill_buffer(void) {
        for (size_t i = 0; i < sizeof(buffer); i++)
                buffer[i] = i % LINE == LINE - 2   ? '\r'
                            : i % LINE == LINE - 1 ? '\n'
                                                   : "abcdefghijklm nopqrstuvwxyz"[i % 27];
}

static void run(char *program, int fd) {
        char *words[WORDS + 1] = { NULL };
        int n = 0, null = open("/dev/null", O_WRONLY);

        for (char *w = strtok(program, " "); w && n < WORDS; w = strtok(NULL, " "))
                words[n++] = w;
        dup2(fd, STDIN_FILENO);
        dup2(fd, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        if (close_range(3, ~0U, 0) < 0)
                _exit(126);
        execvp(words[1], words + 1);
        _exit(127);
}

/* Starts a program, and returns our end of its connection. */
static int start(const char *program, pid_t *ret_pid) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(a);
        int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0),
            server;

        if (bind(listener, (struct sockaddr *) &a, size) < 0 || listen(listener, 1) < 0 ||
            getsockname(listener, (struct sockaddr *) &a, &size) < 0 ||
            connect(client, (struct sockaddr *) &a, size) < 0 ||
            (server = accept(listener, NULL, NULL)) < 0)
                err(1, "loopback connection");
        close(listener);
        *ret_pid = fork();
        if (*ret_pid == 0)
                run(strdup(program), server);
        close(server);
        return client;
}

static void send_all(int fd, const char *data, size_t n) {
        for (ssize_t k; n > 0; data += k, n -= (size_t) k)
                if ((k = send(fd, data, n, 0)) < 0)
                        err(1, "send");
}

/* The last line of a reply, if it begins with `digit`. */
static void hear(int fd, char digit) {
        char reply[4096] = "";
        size_t n = 0;

        while (n < 2 || reply[n - 1] != '\n') {
                ssize_t k = recv(fd, reply + n, sizeof(reply) - n - 1, 0);

                if (k <= 0)
                        errx(1, "no reply");
                n += (size_t) k;
        }
        if (*reply != digit)
                errx(1, "%s", reply);
}

static void converse(int fd) {
        static const char *const say[] = { "EHLO bench\r\n", "MAIL FROM:<a@b.example>\r\n",
                                           "RCPT TO:<c@d.example>\r\n", "DATA\r\n" };

        hear(fd, '2');
        for (int i = 0; i < 4; i++) {
                send_all(fd, say[i], strlen(say[i]));
                hear(fd, i < 3 ? '2' : '3');
        }
}

static uint64_t measure(const char *program) {
        static const char header[] = "Subject: a large message\r\n\r\n";
        bool is_session = strncmp(program, "session ", 8) == 0;
        uint64_t from, took;
        pid_t pid;
        int fd = start(program, &pid);

        if (is_session)
                converse(fd);
        else
                usleep(50000); /* it has started, and is connected */
        from = now();
        send_all(fd, header, strlen(header));
        for (uint64_t left = octets; left >= sizeof(buffer); left -= sizeof(buffer))
                send_all(fd, buffer, sizeof(buffer));
        if (is_session)
                send_all(fd, ".\r\n", 3);
        else
                shutdown(fd, SHUT_WR);
        hear(fd, '2');
        took = now() - from;
        close(fd);
        waitpid(pid, NULL, 0);
        return took;
}

int main(int argc, char **argv) {
        int n = argc - 4;

        if (n < 1 || n > WORDS)
                errx(1, "usage: relay DIRECTORY OCTETS ROUNDS PROGRAM...");
        setenv("TMPDIR", argv[1], 1);
        octets = strtoull(argv[2], NULL, 10);
        fill_buffer();
        signal(SIGPIPE, SIG_IGN);
        for (int round = 0, rounds = atoi(argv[3]); round < rounds; round++) {
                uint64_t took[WORDS];

                for (int i = 0; i < n; i++) { /* each round begins with another one */
                        int which = (i + round) % n;

                        took[which] = measure(argv[4 + which]);
                }
                for (int i = 0; i < n; i++)
                        printf("%llu%c", (unsigned long long) took[i], i == n - 1 ? '\n' : ' ');
                fflush(stdout);
        }
        return 0;
}
