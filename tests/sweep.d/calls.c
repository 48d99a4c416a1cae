/* SPDX-License-Identifier: MIT */
/* calls.c - what the tracer does at each system call: it counts and lists it, and lets a fault
 * happen (faults.c) when it is the one that is meant.
 *
 * Three things make a run the same as the one before: the session does not go on from a poll(2)
 * while the world is still sending; the broker does not begin one while a program it has started is
 * running; and the calls that are made once the program was detached do not matter. What happens at
 * a wait leaves all of this to chance from then on.
 */
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trace.h"

/* --- the same each time ----------------------------------------------------------------------- */

static void settle_world(void) {
        for (int i = 0; the_report->is_sending && i < 100000; i++)
                sched_yield();
}

/* When the program goes on, its child has executed something or is dead, but we may not have been
 * told yet. Or it wants something of the broker. */
static void settle_child(void) {
        int status;

        while (child.pid && !child.is_waiting && waitpid(child.pid, &status, __WALL) == child.pid)
                if (WIFSTOPPED(status))
                        at_stop(&child, status);
                else
                        child.pid = 0;
        child.is_waiting = false;
}

static void settle_programs(void) {
        struct pollfd fd = { .events = POLLIN };

        settle_child();
        fd.fd = program_of_ours;
        if (fd.fd >= 0 && poll(&fd, 1, 3000) > 0) {
                close(program_of_ours);
                program_of_ours = -1;
        }
}

/* --- system calls ----------------------------------------------------------------------------- */

static bool is_poll(const struct tracee *t) {
#ifdef SYS_poll
        if (t->entry.entry.nr == SYS_poll)
                return true;
#endif
        return t->entry.entry.nr == SYS_ppoll;
}

/* Whether it is at a call that may wait; a poll that only looks does not. */
static bool is_wait(const struct tracee *t) {
#ifdef SYS_poll
        if (t->entry.entry.nr == SYS_poll)
                return t->entry.entry.args[2] != 0;
#endif
        switch (t->entry.entry.nr) {
        case SYS_ppoll:
        case SYS_pselect6:
        case SYS_wait4:
        case SYS_waitid:
        case SYS_connect:
        case SYS_nanosleep:
        case SYS_clock_nanosleep: return true;
        default: return false;
        }
}

static void at_entry(struct tracee *t) {
        const struct fault *f = &the_run->fault;

        t->is_waiting |= t->has_told && is_poll(t);
        t->has_told = t->entry.entry.nr == SYS_sendmsg;
        t->n_calls += (long) t->entry.entry.nr == f->call;
        t->n_waits += is_wait(t);
        if (list)
                fprintf(list, "%c %llu %d %llx %llx %llx\n",
                        "pbc"[t == &program  ? 0
                              : t == &broker ? 1
                                             : 2],
                        (unsigned long long) t -> entry.entry.nr, is_wait(t),
                        (unsigned long long) t->entry.entry.args[0],
                        (unsigned long long) t->entry.entry.args[1],
                        (unsigned long long) t->entry.entry.args[2]);
        if (is_to_be_hurt(t)) {
                t->is_hurt = the_run->is_reached = true;
                hurt_entry(t);
        } else if (f->kind == FAULT_WAIT && is_followed(t) && is_wait(t) && t->n_waits == f->number)
                happen();
        else if (f->kind == FAULT_WAIT && is_followed(t) && is_wait(t) &&
                 t->n_waits == f->number - 1 && f->argument & WAIT_HUSHED)
                tell_world(WAIT_HUSHED);
        if (t == &broker && is_poll(t) && !happened && !is_endless &&
            !(t->is_hurt && f->kind == FAULT_KILL))
                settle_programs();
}

/* false when it was detached. */
static bool at_exit(struct tracee *t) {
        const struct fault *f = &the_run->fault;

        if (t == &program && is_poll(t))
                settle_world();
        if (!t->is_hurt)
                return true;
        hurt_exit(t);
        t->is_hurt = false;
        if (f->kind == FAULT_LATE_KILL || (f->kind == FAULT_ERROR && f->argument != ERROR_ONCE))
                return true;
        detach(t, 0);
        return false;
}

void at_call(struct tracee *t) {
        struct ptrace_syscall_info info;
        bool is_here = true;

        if (ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, sizeof(info), &info) < 0)
                return;
        if (t->is_started && info.op == PTRACE_SYSCALL_INFO_ENTRY) {
                t->entry = info;
                at_entry(t);
        } else if (t->is_started && info.op == PTRACE_SYSCALL_INFO_EXIT)
                is_here = at_exit(t);
        if (is_here && t->pid)
                go_on(t, 0);
}
