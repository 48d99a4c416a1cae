/* SPDX-License-Identifier: MIT */
/* broker/child.h - starts the process of a program, up to execve(2).
 *
 * The child is made by vfork(2): it shares our memory until it executes the program, which costs
 * nothing however large we are, and between the two it makes system calls only.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* The descriptor of the output, in the parent and in a program that gets it. */
enum { CHILD_OUTPUT = 3 };

/* What the program is started with. */
struct child {
        const char *path;
        char *const *argv;
        char *const *environment;
        int in, out, err;   /* its standard descriptors */
        bool has_output;    /* and CHILD_OUTPUT */
        pid_t parent;       /* us */
        volatile int error; /* errno of what the child could not do, 0 if it runs the program */
};

/* In a child: the actions of all signals are the default, and none is blocked. */
void child_clear_signals(void);

/* Starts the program in its own process group. Returns the pid, which must be waited for even if
 * `error` is set; or -1. */
pid_t child_start(struct child *s);
