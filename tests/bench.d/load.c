/* load ADDRESS PORT SESSIONS CLIENTS [MESSAGES] - that many clients at once, which hold so many SMTP sessions one after another
 * between them, each with MESSAGES (1) messages, waiting for each reply. Prints the nanoseconds it took, the sessions that came to their end, and the
 * messages that were accepted. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct counters {
        atomic_long left, sessions, messages;
};

/* Sends a line, if any, and reads up to the last line of a reply. */
static bool is_answered(int fd, const char *say, char code) {
        char in[2048];
        size_t n = 0;

        if (say && send(fd, say, strlen(say), MSG_NOSIGNAL) != (ssize_t) strlen(say))
                return false;
        for (;;) {
                ssize_t r = recv(fd, in + n, sizeof(in) - 1 - n, 0);
                char *line;

                if (r <= 0)
                        return false;
                n += (size_t) r;
                in[n] = '\0';
                if (in[n - 1] != '\n')
                        continue;
                in[n - 1] = '\0';
                line = strrchr(in, '\n');
                line = line ? line + 1 : in;
                if (line[3] == ' ')
                        return *line == code;
                in[n - 1] = '\n';
        }
}

static bool has_session(const struct sockaddr_in *address, long n_messages, struct counters *c) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
        const struct timeval patience = { .tv_sec = 60 };
        bool ok;
        char end;

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        ok = connect(fd, (const struct sockaddr *) address, sizeof(*address)) == 0 && is_answered(fd, NULL, '2') &&
             is_answered(fd, "EHLO load.example\r\n", '2');
        for (long i = 0; ok && i < n_messages; i++) {
                ok = is_answered(fd, "MAIL FROM:<a@b.example>\r\n", '2') && is_answered(fd, "RCPT TO:<c@d.example>\r\n", '2') &&
                     is_answered(fd, "DATA\r\n", '3');
                if (ok && is_answered(fd, "From: a@b.example\r\nTo: c@d.example\r\nSubject: hello\r\n\r\nhello\r\n.\r\n", '2'))
                        c->messages++;
        }
        ok = ok && is_answered(fd, "QUIT\r\n", '2') && recv(fd, &end, 1, 0) == 0;
        close(fd);
        return ok;
}

int main(int argc, char **argv) {
        struct sockaddr_in address = { .sin_family = AF_INET };
        struct counters *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        struct timespec from, to;
        long n_messages = argc > 5 ? atol(argv[5]) : 1;

        if (argc < 5 || c == MAP_FAILED || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1)
                return 64;
        address.sin_port = htons((unsigned short) atoi(argv[2]));
        c->left = atol(argv[3]);
        clock_gettime(CLOCK_MONOTONIC, &from);
        for (int i = atoi(argv[4]); i > 0; i--)
                if (fork() == 0) {
                        while (c->left-- > 0)
                                c->sessions += has_session(&address, n_messages, c);
                        _exit(0);
                }
        while (wait(NULL) > 0)
                ;
        clock_gettime(CLOCK_MONOTONIC, &to);
        printf("%lld %ld %ld\n", (to.tv_sec - from.tv_sec) * 1000000000LL + (to.tv_nsec - from.tv_nsec), c->sessions, c->messages);
        return 0;
}
