/* SPDX-License-Identifier: MIT */
/* trace.h - what the parts of the tracer share: who is traced (trace.c), what is done at a system
 * call (calls.c), and what goes wrong (faults.c). */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/types.h>

#include <linux/ptrace.h>

#include "sweep.h"

/* The session; its broker; or a child of that until it has executed something, or as long as it is
 * smtpd-journal. */
struct tracee {
        pid_t pid; /* 0: not there, or not traced any more */
        bool is_started, is_hurt;
        bool has_told, is_waiting; /* the child: the broker, and for what that makes of it */
        long n_calls;              /* of that which is to fail */
        long n_waits;
        struct ptrace_syscall_info entry;
};

extern struct run *the_run;
extern struct report *the_report;
extern struct tracee program, broker, child;
extern pid_t last_child;
extern int program_of_ours; /* a pidfd: what the child has become */
extern bool is_over;        /* the session has ended */
extern int event_fd;        /* the world is told by it to look at the report's at_wait */
extern long happened;       /* when that was, or 0 */
extern bool is_endless;     /* a program that begins is stopped */
extern FILE *list;

bool is_listing(void);
bool is_followed(const struct tracee *t);
void go_on(struct tracee *t, int signal);
void detach(struct tracee *t, int signal);
void at_stop(struct tracee *t, int status);

/* At a system call. */
void at_call(struct tracee *t);

/* Faults. */
void tell_world(int what);
void happen(void);
bool is_to_be_hurt(const struct tracee *t);
void hurt_entry(struct tracee *t);
void hurt_exit(struct tracee *t);
