/* SPDX-License-Identifier: MIT */
/* intake.c - how fast programs take a large message from one loopback TCP connection, in turns.
 *
 *   intake DIRECTORY OCTETS fixed|mixed ROUNDS PROGRAM...
 *
 * A PROGRAM is a string of words: "session /path/smtpd --max-size=0" (a dialogue up to DATA comes
 * first), "chunks /path/smtpd --max-size=0" (up to RCPT, and then BDAT with chunks of a MiB), or
 * "raw cat" (its standard output becomes a nameless file in DIRECTORY, which is also everyone's
 * TMPDIR). Standard error is /dev/null. Per round there is one line, the nanoseconds of each
 * program.
 *
 * The clock runs from the first octet of the body until the program has read the last one: its
 * receive queue is empty. The final dot is never sent, so that there is no delivery in it; nor is
 * the removal of the file.
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
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1024 * 1024, WORDS = 16, DIALOGUE = 5 };

static const char header[] = "Subject: a large message\r\n\r\n";
static const char *directory;
static uint64_t octets;
static char buffer[BUFFER];
static size_t n_buffer; /* whole lines */

struct connection {
        pid_t pid;
        int client; /* our end */
        int server; /* the program's end, to look at its queue */
};

static uint64_t now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

/* Text octets of the next line: 76, or from an empty line to a very long one. */
static size_t next_length(int is_mixed) {
        static uint32_t x = 1;

        x = x * 1664525 + 1013904223;
        if (!is_mixed)
                return 76;
        switch (x >> 24) {
        case 0 ... 29: return 0;
        case 30 ... 33: return 998;
        default: return (x >> 12 & 0xfff) % 100;
        }
}

static void fill_buffer(int is_mixed) {
        for (;;) {
                size_t n = next_length(is_mixed);

                if (n + 2 > BUFFER - n_buffer)
                        return;
                for (size_t i = 0; i < n; i++)
                        buffer[n_buffer++] = "abcdefghij klmnopqrstuvwxyz."[(i + n) % 28];
                if (n > 2 && is_mixed && n % 25 == 0) /* a line of text that begins with a dot */
                        memcpy(buffer + n_buffer - n, "..", 2);
                else if (n > 0)
                        buffer[n_buffer - n] = 'x';
                memcpy(buffer + n_buffer, "\r\n", 2);
                n_buffer += 2;
        }
}

static void run(char *program, int fd) {
        char *words[WORDS + 1] = { NULL };
        int out = fd, n = 0, null = open("/dev/null", O_WRONLY);

        for (char *w = strtok(program, " "); w && n < WORDS; w = strtok(NULL, " "))
                words[n++] = w;
        if (strcmp(words[0], "raw") == 0 && (out = open(directory, O_TMPFILE | O_RDWR, 0600)) < 0)
                err(1, "%s", directory);
        dup2(fd, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        if (close_range(3, ~0U, 0) < 0)
                _exit(126);
        execvp(words[1], words + 1);
        _exit(127);
}

static struct connection start(const char *program) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(a);
        struct connection c;
        int listener = socket(AF_INET, SOCK_STREAM, 0);

        c.client = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(listener, (struct sockaddr *) &a, size) < 0 || listen(listener, 1) < 0 ||
            getsockname(listener, (struct sockaddr *) &a, &size) < 0 ||
            connect(c.client, (struct sockaddr *) &a, size) < 0 ||
            (c.server = accept(listener, NULL, NULL)) < 0)
                err(1, "loopback connection");
        close(listener);
        c.pid = fork();
        if (c.pid == 0)
                run(strdup(program), c.server);
        return c;
}

static void send_all(int fd, const char *data, size_t n) {
        for (ssize_t k; n > 0; data += k, n -= (size_t) k)
                if ((k = send(fd, data, n, 0)) < 0)
                        err(1, "send");
}

/* Nobody reads the replies to chunks: they are few. */
static void send_part(int fd, const char *data, size_t n, bool is_chunk) {
        char command[40];
        int n_command = snprintf(command, sizeof(command), "BDAT %zu\r\n", n);

        if (is_chunk)
                send_all(fd, command, (size_t) n_command);
        send_all(fd, data, n);
}

static int queue(int fd, unsigned long request) {
        int n;

        if (ioctl(fd, request, &n) < 0)
                err(1, "ioctl");
        return n;
}

/* Until all we sent was read. */
static void wait_until_read(const struct connection *c) {
        while (queue(c->client, TIOCOUTQ) > 0 || queue(c->server, FIONREAD) > 0) {
                if (waitpid(c->pid, NULL, WNOHANG) != 0)
                        errx(1, "the program ended in the middle");
                nanosleep(&(struct timespec) { .tv_nsec = 20000 }, NULL);
        }
}

/* Up to the invitation to send the message, or with fewer steps. */
static void converse(int fd, int n_steps) {
        static const char *const say[DIALOGUE] = { "", "EHLO bench\r\n",
                                                   "MAIL FROM:<a@b.example>\r\n",
                                                   "RCPT TO:<c@d.example>\r\n", "DATA\r\n" };

        for (int i = 0; i < n_steps; i++) {
                char reply[4096] = "";
                size_t n = 0;

                send_all(fd, say[i], strlen(say[i]));
                while (n < 2 || reply[n - 1] != '\n') {
                        ssize_t k = recv(fd, reply + n, sizeof(reply) - n - 1, 0);

                        if (k <= 0)
                                errx(1, "no reply to: %s", say[i]);
                        n += (size_t) k;
                }
                if (*reply != (i == DIALOGUE - 1 ? '3' : '2'))
                        errx(1, "%s", reply);
        }
}

static uint64_t measure(const char *program) {
        bool has_chunks = strncmp(program, "chunks ", 7) == 0;
        struct connection c = start(program);
        uint64_t from, took;

        if (has_chunks || strncmp(program, "session ", 8) == 0)
                converse(c.client, has_chunks ? DIALOGUE - 1 : DIALOGUE);
        send_part(c.client, header, strlen(header), has_chunks);
        wait_until_read(&c); /* the program has started */
        from = now();
        for (uint64_t left = octets; left >= n_buffer; left -= n_buffer)
                send_part(c.client, buffer, n_buffer, has_chunks);
        wait_until_read(&c);
        took = now() - from;
        close(c.client);
        close(c.server);
        waitpid(c.pid, NULL, 0);
        return took;
}

int main(int argc, char **argv) {
        if (argc < 6)
                errx(1, "usage: intake DIRECTORY OCTETS fixed|mixed ROUNDS PROGRAM...");
        directory = argv[1];
        setenv("TMPDIR", directory, 1);
        octets = strtoull(argv[2], NULL, 10);
        fill_buffer(strcmp(argv[3], "mixed") == 0);
        signal(SIGPIPE, SIG_IGN);
        for (int round = 0, rounds = atoi(argv[4]); round < rounds; round++) {
                uint64_t took[WORDS];
                int n = argc - 5;

                for (int i = 0; i < n; i++) { /* each round begins with another one */
                        int which = (i + round) % n;

                        took[which] = measure(argv[5 + which]);
                }
                for (int i = 0; i < n; i++)
                        printf("%llu%c", (unsigned long long) took[i], i == n - 1 ? '\n' : ' ');
                fflush(stdout);
        }
        return 0;
}
