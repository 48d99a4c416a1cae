/* SPDX-License-Identifier: MIT */
/* trace.c - runs smtpd under ptrace(2), counts its system calls, and makes one of them go wrong.
 *
 * Only the session is followed, its broker, and the broker's vfork(2) children until they execute
 * something other than smtpd-journal. After the fault the process runs on without us. Three things
 * make a run the same as the one before: the session does not go on from a poll(2) while the world
 * is still sending; the broker does not begin one while a program it has started is running; and
 * the calls that are made once the program was detached do not matter. What happens at a wait
 * leaves all of this to chance from then on.
 *
 * A call that is to fail is replaced by getpid(2), which any sandbox allows, and its result
 * afterwards.
 */
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/ptrace.h>

#include "sweep.h"

/* --- registers -------------------------------------------------------------------------------- */

#if defined(__x86_64__)
typedef struct user_regs_struct registers;

static void set_number(pid_t pid, registers *r, long number) {
        (void) pid;
        r->orig_rax = (unsigned long long) number;
}

static void set_argument(registers *r, int i, long value) {
        unsigned long long *const arguments[] = { &r->rdi, &r->rsi, &r->rdx, &r->r10 };

        *arguments[i] = (unsigned long long) value;
}

static void restore_argument(registers *r, int i, long value) {
        set_argument(r, i, value);
}

static void set_result(registers *r, long value) {
        r->rax = (unsigned long long) value;
}
#elif defined(__aarch64__)
typedef struct user_pt_regs registers;

static void set_number(pid_t pid, registers *r, long number) {
        int n = (int) number;
        struct iovec v = { &n, sizeof(n) };

        (void) r;
        ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &v);
}

static void set_argument(registers *r, int i, long value) {
        r->regs[i] = (unsigned long long) value;
}

/* The first argument's register has the result. */
static void restore_argument(registers *r, int i, long value) {
        if (i > 0)
                set_argument(r, i, value);
}

static void set_result(registers *r, long value) {
        r->regs[0] = (unsigned long long) value;
}
#else
#error "this machine's registers are not known here"
#endif

static void get_registers(pid_t pid, registers *ret) {
        struct iovec v = { ret, sizeof(*ret) };

        ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v);
}

static void set_registers(pid_t pid, registers *r) {
        struct iovec v = { r, sizeof(*r) };

        ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &v);
}

/* --- who is traced ---------------------------------------------------------------------------- */

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

static struct run *the_run;
static struct report *the_report;
static struct tracee program, broker, child;
static int n_children; /* so far, the broker too */
static pid_t last_child;
static int program_of_ours; /* a pidfd: what the child has become */
static bool is_over;        /* the session has ended */
static int event_fd;        /* the world is told by it to look at the report's at_wait */
static long happened;       /* when that was, or 0 */
static bool is_endless;     /* a program that begins is stopped */
static FILE *list;

static bool is_listing(void) {
        return the_run->fault.kind == FAULT_LIST;
}

enum { BROKER = 1 }; /* it is the first child */

static int number_of(const struct tracee *t) {
        return t == &program ? 0 : t == &broker ? BROKER : n_children;
}

/* Whether each call of it is to be looked at. */
static bool is_followed(const struct tracee *t) {
        if (the_run->fault.kind == FAULT_WAIT && the_run->is_reached)
                return false;
        return is_listing() ||
               (the_run->fault.kind != FAULT_NONE && the_run->fault.child == number_of(t));
}

/* The broker's calls wait for those of its child. */
static void go_on(struct tracee *t, int signal) {
        bool is_seen = is_followed(t) || (t == &child && is_followed(&broker));

        ptrace(is_seen ? PTRACE_SYSCALL : PTRACE_CONT, t->pid, 0, signal);
}

static void detach(struct tracee *t, int signal) {
        ptrace(PTRACE_DETACH, t->pid, 0, signal);
        t->pid = 0;
}

/* --- the same each time ----------------------------------------------------------------------- */

static void settle_programs(void);

static void settle_world(void) {
        for (int i = 0; the_report->is_sending && i < 100000; i++)
                sched_yield();
}

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

/* --- faults ----------------------------------------------------------------------------------- */

enum { ENDLESS = WAIT_MUTE | WAIT_FROZEN | WAIT_HUSHED };

static void tell_world(int what) {
        is_endless |= (what & ENDLESS) != 0;
        if (is_endless && program_of_ours >= 0)
                kill(-last_child, SIGSTOP);
        the_report->at_wait = what;
        eventfd_write(event_fd, 1);
        for (int i = 0; the_report->at_wait && i < 1000000; i++)
                sched_yield();
}

/* The wait that is meant begins, or is about to. */
static void happen(void) {
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

/* Kills the session, and waits until it is dead. */
static void kill_parent(void) {
        kill(program.pid, SIGKILL);
        while (waitpid(program.pid, &the_run->wait_status, __WALL) == program.pid &&
               WIFSTOPPED(the_run->wait_status))
                ;
        program.pid = 0;
        is_over = true;
}

static void hurt_entry(struct tracee *t) {
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

static void hurt_exit(struct tracee *t) {
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

/* --- system calls ----------------------------------------------------------------------------- */

/* The call that is meant; or, with an error that stays, a later one like it. */
static bool is_to_be_hurt(const struct tracee *t) {
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

static void at_call(struct tracee *t) {
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

/* --- events ----------------------------------------------------------------------------------- */

static unsigned long entry_point(pid_t pid) {
        char path[64];
        Elf64_auxv_t v;
        unsigned long entry = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/auxv", (int) pid);
        file = fopen(path, "re");
        while (file && fread(&v, sizeof(v), 1, file) == 1)
                if (v.a_type == AT_ENTRY)
                        entry = v.a_un.a_val;
        if (file)
                fclose(file);
        return entry;
}

/* The dynamic loader ends where the program's first instruction is: a breakpoint there tells which
 * calls are the loader's. */
static struct {
        unsigned long at;
        long word;
} breakpoint;

static void set_breakpoint(pid_t pid) {
        static const unsigned char instruction[] =
#if defined(__x86_64__)
                { 0xcc };
#else
                { 0x00, 0x00, 0x20, 0xd4 };
#endif
        long word;

        breakpoint.at = entry_point(pid);
        breakpoint.word = word = ptrace(PTRACE_PEEKTEXT, pid, breakpoint.at, 0);
        memcpy(&word, instruction, sizeof(instruction));
        ptrace(PTRACE_POKETEXT, pid, breakpoint.at, word);
}

static bool is_breakpoint(struct tracee *t, int signal) {
        registers r;

        if (signal != SIGTRAP || !breakpoint.at)
                return false;
        ptrace(PTRACE_POKETEXT, t->pid, breakpoint.at, breakpoint.word);
        get_registers(t->pid, &r);
#if defined(__x86_64__)
        r.rip = breakpoint.at;
#endif
        set_registers(t->pid, &r);
        breakpoint.at = 0;
        fprintf(list, "- entry\n");
        return true;
}

/* By its parent's word, or its own first stop, which may come before that. The first one is the
 * broker, which the session makes; all others are the broker's. */
static void meet_child(pid_t pid) {
        if (pid == last_child || pid == broker.pid)
                return;
        last_child = pid;
        *(n_children == 0 ? &broker : &child) = (struct tracee) { .pid = pid, .is_started = true };
        n_children++;
        if (list)
                fprintf(list, "- child\n");
}

static void at_fork(struct tracee *t) {
        unsigned long pid = 0;

        ptrace(PTRACE_GETEVENTMSG, t->pid, 0, &pid);
        meet_child((pid_t) pid);
        go_on(t, 0);
}

static bool is_helper(pid_t pid) {
        static const char name[] = "/smtpd-journal";
        char link[64], path[4096];
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/%d/exe", (int) pid);
        n = readlink(link, path, sizeof(path));
        return n >= (ssize_t) strlen(name) &&
               memcmp(path + n - strlen(name), name, strlen(name)) == 0;
}

static void at_exec(struct tracee *t) {
        if (t == &child) {
                if (program_of_ours >= 0)
                        close(program_of_ours);
                program_of_ours = pidfd_open(t->pid, 0);
                if (!is_followed(t) || the_run->is_reached || !is_helper(t->pid)) {
                        detach(t, is_endless ? SIGSTOP : 0);
                        return;
                }
        }
        t->is_started = true;
        if (list) {
                fprintf(list, "- exec\n");
                set_breakpoint(t->pid);
        }
        go_on(t, 0);
}

static void at_stop(struct tracee *t, int status) {
        const int all = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEVFORK |
                        PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL;
        int signal = WSTOPSIG(status), event = status >> 16;

        if (signal == (SIGTRAP | 0x80))
                at_call(t);
        else if (event == PTRACE_EVENT_EXEC)
                at_exec(t);
        else if (event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_FORK)
                at_fork(t);
        else if (signal == SIGSTOP) { /* how both begin */
                if (t == &program)
                        ptrace(PTRACE_SETOPTIONS, t->pid, 0, all);
                go_on(t, 0);
        } else
                go_on(t, is_breakpoint(t, signal) ? 0 : signal);
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

/* --- a run ------------------------------------------------------------------------------------ */

static volatile sig_atomic_t is_late;

static void on_alarm(int signal) {
        (void) signal;
        is_late = 1;
}

static void set_alarm(int seconds) {
        const struct sigaction act = { .sa_handler = on_alarm }; /* waitpid() is to return */
        const struct itimerval when = { .it_value.tv_sec = seconds,
                                        .it_interval.tv_usec = seconds ? 100000 : 0 };

        is_late = 0;
        sigaction(SIGALRM, &act, NULL);
        setitimer(ITIMER_REAL, &when, NULL);
}

static void forget(pid_t pid) {
        struct tracee *const all[] = { &program, &broker, &child };

        for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
                if (all[i]->pid == pid)
                        all[i]->pid = 0;
}

static void kill_all(void) {
        const pid_t all[] = { program.pid, broker.pid, child.pid };

        for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
                if (all[i])
                        kill(all[i], SIGKILL);
}

/* The program, started by its parent and stopped if it is to be traced, until it is dead. The list,
 * if one is wanted, is to be freed. */
void trace_run(struct run *r, pid_t pid, int event, struct report *report, char **ret_list,
               size_t *n_list) {
        int status;

        the_run = r;
        the_report = report;
        program = (struct tracee) { .pid = pid };
        broker = child = (struct tracee) { 0 };
        is_over = false;
        event_fd = event;
        happened = 0;
        is_endless = false;
        n_children = last_child = 0;
        program_of_ours = -1;
        breakpoint.at = 0;
        list = is_listing() ? open_memstream(ret_list, n_list) : NULL;
        r->is_reached = r->is_hung = false;
        set_alarm(RUN_SECONDS);
        while (!is_over || broker.pid || child.pid) {
                pid_t who = waitpid(-1, &status, __WALL);

                if (who < 0 && errno == EINTR && is_late && !r->is_hung) {
                        r->is_hung = true;
                        kill_all();
                }
                if (who < 0 && errno == ECHILD)
                        errx(1, "the program is lost");
                if (who > 0 && WIFSTOPPED(status) && who == program.pid)
                        at_stop(&program, status);
                else if (who > 0 && WIFSTOPPED(status) && who == broker.pid)
                        at_stop(&broker, status);
                else if (who > 0 && WIFSTOPPED(status) && who == child.pid)
                        at_stop(&child, status);
                else if (who > 0 && WIFSTOPPED(status) &&
                         who != pid) { /* a child whose parent has not told us yet */
                        meet_child(who);
                        at_stop(who == broker.pid ? &broker : &child, status);
                }
                if (who == pid && !WIFSTOPPED(status)) {
                        r->wait_status = status;
                        is_over = true;
                }
                if (who > 0 && !WIFSTOPPED(status))
                        forget(who);
        }
        set_alarm(0);
        r->ms_left = happened ? now() - happened : 0;
        if (program_of_ours >= 0)
                close(program_of_ours);
        if (list)
                fclose(list);
}
