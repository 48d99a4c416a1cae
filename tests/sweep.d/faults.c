/* SPDX-License-Identifier: MIT */
/* faults.c - what goes wrong in the program: at one of its system calls, or at a wait.
 *
 * A call that is to fail is replaced by getpid(2), which any sandbox allows, and its result
 * afterwards.
 */
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "registers.h"
#include "trace.h"

/* --- at a wait -------------------------------------------------------------------------------- */

enum { ENDLESS = WAIT_MUTE | WAIT_FROZEN | WAIT_HUSHED };

void tell_world(int what) {
        is_endless |= (what & ENDLESS) != 0;
        if (is_endless && program_of_ours >= 0)
                kill(-last_child, SIGSTOP);
        the_report->at_wait = what;
        eventfd_write(event_fd, 1);
        for (int i = 0; the_report->at_wait && i < 1000000; i++)
                sched_yield();
}

/* The wait that is meant begins, or is about to. */
void happen(void) {
        int what = the_run->fault.argument;

        happened = now();
        the_run->is_reached = true;
        if (what & ~(WAIT_STOP | WAIT_STOP_SOON))
                tell_world(what);
        if (what & WAIT_STOP) {
                kill(program.pid, SIGTERM);
                if (broker.pid)
                        kill(broker.pid, SIGTERM);
        }
        if (what & WAIT_STOP_SOON)
                kill(program.pid, SIGUSR1);
}

/* --- at a call -------------------------------------------------------------------------------- */

/* The call that is meant; or, with an error that stays, a later one like it. */
bool is_to_be_hurt(const struct tracee *t) {
        const struct fault *f = &the_run->fault;
        static uint64_t first;

        if (is_listing() || f->kind == FAULT_WAIT || !is_followed(t))
                return false;
        if ((long) t->entry.entry.nr != f->call)
                return false;
        if (t->n_calls == f->number)
                first = t->entry.entry.args[0];
        return t->n_calls == f->number ||
               (f->kind == FAULT_ERROR && f->argument != ERROR_ONCE && the_run->is_reached &&
                (f->argument == ERROR_STAYS || t->entry.entry.args[0] == first));
}

/* Kills the session, and waits until it is dead. */
static void kill_parent(void) {
        kill(program.pid, SIGKILL);
        while (waitpid(program.pid, &the_run->wait_status, __WALL) == program.pid &&
               WIFSTOPPED(the_run->wait_status))
                ;
        program.pid = 0;
        is_over = true;
}

void hurt_entry(struct tracee *t) {
        const struct fault *f = &the_run->fault;
        registers r;

        get_registers(t->pid, &r);
        switch (f->kind) {
        case FAULT_ERROR: set_number(t->pid, &r, SYS_getpid); break;
        case FAULT_ARGUMENT:
                set_argument(&r, f->argument,
                             f->value >= 0 ? f->value
                                           : (long) t->entry.entry.args[f->argument] / 2);
                break;
        case FAULT_KILL: kill(t->pid, SIGKILL); return;
        case FAULT_KILL_PARENT: kill_parent(); return;
        default: return;
        }
        set_registers(t->pid, &r);
}

void hurt_exit(struct tracee *t) {
        const struct fault *f = &the_run->fault;
        registers r;

        if (f->kind == FAULT_LATE_KILL)
                kill(t->pid, SIGKILL);
        if (f->kind != FAULT_ERROR && f->kind != FAULT_LATE_ERROR && f->kind != FAULT_ARGUMENT)
                return;
        get_registers(t->pid, &r);
        if (f->kind == FAULT_ARGUMENT) /* a program may count on that a call leaves it as it was */
                restore_argument(&r, f->argument, (long) t->entry.entry.args[f->argument]);
        else
                set_result(&r, -f->value);
        set_registers(t->pid, &r);
}
