/* cpu.c - the processor time (user and system) of programs, in turns.
 *
 *   cpu ROUNDS SESSION PROGRAM PROGRAM...
 *
 * Each run has SESSION (a short file) in a pipe as standard input, and /dev/null as standard output and error. Per round
 * there is one line, the nanoseconds of each program from exec to exit.
 */
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 16, PROGRAMS = 8 };

static char session[16 * 1024]; /* fits into a pipe */
static ssize_t n_session;

static uint64_t nanoseconds(const struct timeval *t) {
        return (uint64_t) t->tv_sec * 1000000000 + (uint64_t) t->tv_usec * 1000;
}

static uint64_t measure(char **words) {
        struct rusage usage;
        int in[2], status;
        pid_t pid;

        if (pipe(in) < 0 || write(in[1], session, (size_t) n_session) != n_session)
                err(1, "pipe");
        close(in[1]);
        pid = vfork();
        if (pid == 0) {
                dup2(in[0], STDIN_FILENO);
                dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
                dup2(STDOUT_FILENO, STDERR_FILENO);
                close_range(3, ~0U, 0);
                execv(words[0], words);
                _exit(127);
        }
        if (pid < 0 || wait4(pid, &status, 0, &usage) != pid || status != 0)
                errx(1, "%s failed", words[0]);
        close(in[0]);
        return nanoseconds(&usage.ru_utime) + nanoseconds(&usage.ru_stime);
}

int main(int argc, char **argv) {
        char *words[PROGRAMS][WORDS + 1] = { { NULL } };
        int n_programs = argc - 3, fd;

        if (n_programs < 2 || n_programs > PROGRAMS)
                errx(1, "usage: cpu ROUNDS SESSION PROGRAM PROGRAM...");
        fd = open(argv[2], O_RDONLY);
        if (fd < 0 || (n_session = read(fd, session, sizeof(session))) < 0 || n_session == sizeof(session))
                err(1, "%s", argv[2]);
        for (int i = 0; i < n_programs; i++) {
                int n = 0;

                for (char *w = strtok(argv[3 + i], " "); w && n < WORDS; w = strtok(NULL, " "))
                        words[i][n++] = w;
        }
        for (int round = 0, rounds = atoi(argv[1]); round < rounds; round++) {
                uint64_t took[PROGRAMS];

                for (int i = 0; i < n_programs; i++)
                        took[(i + round) % n_programs] = measure(words[(i + round) % n_programs]);
                for (int i = 0; i < n_programs; i++)
                        printf("%llu%c", (unsigned long long) took[i], i + 1 < n_programs ? ' ' : '\n');
        }
        return 0;
}
