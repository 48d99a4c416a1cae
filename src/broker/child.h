/* SPDX-License-Identifier: MIT */
/* broker/child.h - the process of a program, up to its execve(2).
 *
 * The child is made by vfork(2): it shares our memory until it executes the program, which costs
 * nothing however large we are, and between the two it makes system calls only.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Where the parent has the output, if it has one, and a program that is to have it too. */
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

/* Starts it, in a process group of its own. Returns the process, which is to be waited for even
 * after an error; or -1. */
pid_t child_start(struct child *s);
