/* SPDX-License-Identifier: MIT */
/* cpu.c - the processor time (user and system) of programs with all that they start, in turns.
 *
 *   cpu ROUNDS SESSION PROGRAM PROGRAM...
 *
 * Each run has SESSION (a short file) in a pipe as standard input, and /dev/null as standard output
 * and error. Per round there is one line, the nanoseconds of each program, and of all its
 * descendants, until the last of them has ended. The kernel's software clock of tasks counts them
 * (perf_event_open(2)), inherited by each new process: rusage knows nothing of processes that
 * nobody waits for.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 16, PROGRAMS = 8 };

static char session[16 * 1024]; /* fits into a pipe */
static ssize_t n_session;

static int clock_fd;

static void start_clock(void) {
        struct perf_event_attr clock = {
                .type = PERF_TYPE_SOFTWARE,
                .size = sizeof(clock),
                .config = PERF_COUNT_SW_TASK_CLOCK,
                .inherit = 1,
        };

        clock_fd = (int) syscall(SYS_perf_event_open, &clock, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
        if (clock_fd < 0)
                err(77, "perf_event_open");
}

static uint64_t nanoseconds(void) {
        uint64_t n;

        if (read(clock_fd, &n, sizeof(n)) != sizeof(n))
                err(1, "read");
        return n;
}

static uint64_t measure(char **words) {
        uint64_t before = nanoseconds();
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
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
                errx(1, "%s failed", words[0]);
        while (wait(NULL) > 0) /* what it left behind is ours */
                ;
        close(in[0]);
        return nanoseconds() - before;
}

int main(int argc, char **argv) {
        char *words[PROGRAMS][WORDS + 1] = { { NULL } };
        int n_programs = argc - 3, fd;

        if (n_programs < 2 || n_programs > PROGRAMS)
                errx(1, "usage: cpu ROUNDS SESSION PROGRAM PROGRAM...");
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        start_clock();
        fd = open(argv[2], O_RDONLY);
        if (fd < 0 || (n_session = read(fd, session, sizeof(session))) < 0 ||
            n_session == sizeof(session))
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
                        printf("%llu%c", (unsigned long long) took[i],
                               i + 1 < n_programs ? ' ' : '\n');
        }
        return 0;
}
