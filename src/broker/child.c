/* SPDX-License-Identifier: MIT */
/* broker/child.c - starts the process of a program, up to execve(2). */
#include "broker/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "io/fd.h"

/* Of the other descriptors, the output, if it is for the program. */
static bool keep_others(const struct child *s) {
        if (s->has_output && fcntl(CHILD_OUTPUT, F_SETFD, 0) < 0)
                return false;
        return fd_close_range(s->has_output ? CHILD_OUTPUT + 1 : CHILD_OUTPUT, 0) == 0;
}

void child_clear_signals(void) {
        const struct sigaction by_default = { .sa_handler = SIG_DFL };
        sigset_t none;

        for (int i = 1; i < NSIG; i++)
                sigaction(i, &by_default, NULL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child, between vfork(2) and execve(2). */
static void become_program(struct child *s) {
        setpgid(0, 0);
        /* killed as we are, it must not deliver what we cannot acknowledge */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != s->parent)
                _exit(EX_TEMPFAIL);
        child_clear_signals();
        if (dup2(s->in, STDIN_FILENO) >= 0 && dup2(s->out, STDOUT_FILENO) >= 0 &&
            dup2(s->err, STDERR_FILENO) >= 0 && keep_others(s) && chdir("/") == 0)
                execve(s->path, s->argv, s->environment);
        s->error = errno;
        _exit(EX_TEMPFAIL);
}

pid_t child_start(struct child *s) {
        pid_t pid;

        signal(SIGCHLD, SIG_DFL); /* ignored, it would take away the exit status */
        s->parent = getpid();
        s->error = 0;
        pid = vfork();
        if (pid == 0)
                become_program(s);
        if (pid < 0)
                s->error = errno;
        return pid;
}
