/* SPDX-License-Identifier: MIT */
/* spawn.c - what a process costs from exec to exit, for some programs in turns.
 *
 *   spawn ROUNDS SESSION PROGRAM PROGRAM...
 *
 * A PROGRAM is a path with arguments, and NAME=VALUE in front of it for its environment; a tab
 * stands for a blank within a word. Each run has SESSION (a short file) in a pipe as standard
 * input, another pipe as standard output, and /dev/null as standard error; filling and emptying
 * them is not measured. All is on one CPU. Per round there is one line, the nanoseconds of each
 * program. They come first in turns.
 */
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 16, PROGRAMS = 8 };

struct program {
        char *words[WORDS + 1], *environment[WORDS + 3];
};

static char session[16 * 1024]; /* fits into a pipe */
static ssize_t n_session;

static uint64_t now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static void read_session(const char *path) {
        int fd = open(path, O_RDONLY);

        if (fd < 0 || (n_session = read(fd, session, sizeof(session))) < 0 ||
            n_session == sizeof(session))
                err(1, "%s", path);
        close(fd);
}

/* The last CPU we may use: the first one has most of the interrupts. */
static void stay_on_one_cpu(void) {
        cpu_set_t set;
        int cpu = CPU_SETSIZE - 1;

        if (sched_getaffinity(0, sizeof(set), &set) < 0)
                return;
        while (!CPU_ISSET(cpu, &set))
                cpu--;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        sched_setaffinity(0, sizeof(set), &set);
}

static char *with_blanks(char *word) {
        for (char *tab; (tab = strchr(word, '\t'));)
                *tab = ' ';
        return word;
}

static void parse(char *s, struct program *ret) {
        int n = 0, n_variables = 2;

        *ret = (struct program) { .environment = { "PATH=/usr/bin:/bin", "LANG=C" } };
        for (char *w = strtok(s, " "); w && n < WORDS && n_variables < WORDS + 2;
             w = strtok(NULL, " "))
                if (n == 0 && strchr(w, '='))
                        ret->environment[n_variables++] = with_blanks(w);
                else
                        ret->words[n++] = with_blanks(w);
}

static uint64_t measure(const struct program *p) {
        posix_spawn_file_actions_t actions;
        int in[2], out[2], status;
        uint64_t from, took;
        pid_t pid;

        if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 ||
            write(in[1], session, (size_t) n_session) != n_session)
                err(1, "pipe");
        close(in[1]);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        from = now();
        if (posix_spawn(&pid, p->words[0], &actions, NULL, p->words, p->environment) != 0 ||
            waitpid(pid, &status, 0) != pid)
                err(1, "%s", p->words[0]);
        took = now() - from;
        if (status != 0)
                errx(1, "%s: status %d", p->words[0], status);
        posix_spawn_file_actions_destroy(&actions);
        close(in[0]);
        close(out[0]);
        close(out[1]);
        return took;
}

int main(int argc, char **argv) {
        struct program programs[PROGRAMS];
        int n_programs = argc - 3;

        if (n_programs < 2 || n_programs > PROGRAMS)
                errx(1, "usage: spawn ROUNDS SESSION PROGRAM PROGRAM...");
        read_session(argv[2]);
        for (int i = 0; i < n_programs; i++)
                parse(argv[3 + i], programs + i);
        stay_on_one_cpu();
        for (int round = 0, rounds = atoi(argv[1]); round < rounds; round++) {
                uint64_t took[PROGRAMS];

                for (int i = 0; i < n_programs; i++)
                        took[(i + round) % n_programs] =
                                measure(programs + (i + round) % n_programs);
                for (int i = 0; i < n_programs; i++)
                        printf("%llu%c", (unsigned long long) took[i],
                               i + 1 < n_programs ? ' ' : '\n');
        }
        return 0;
}
