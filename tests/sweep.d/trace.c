/* SPDX-License-Identifier: MIT */
/* trace.c - runs smtpd under ptrace(2), counts its system calls (calls.c), and makes one of them go
 * wrong (faults.c).
 *
 * Only the session is followed, its broker, and the broker's vfork(2) children until they execute
 * something other than smtpd-journal. After the fault the process runs on without us.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "registers.h"
#include "trace.h"

/* --- who is traced ---------------------------------------------------------------------------- */

struct run *the_run;
struct report *the_report;
struct tracee program, broker, child;
static int n_children; /* so far, the broker too */
pid_t last_child;
int program_of_ours;
bool is_over;
int event_fd;
long happened;
bool is_endless;
FILE *list;

bool is_listing(void) {
        return the_run->fault.kind == FAULT_LIST;
}

enum { BROKER = 1 }; /* it is the first child */

static int number_of(const struct tracee *t) {
        return t == &program ? 0 : t == &broker ? BROKER : n_children;
}

/* Whether each call of it is to be looked at. */
bool is_followed(const struct tracee *t) {
        if (the_run->fault.kind == FAULT_WAIT && the_run->is_reached)
                return false;
        return is_listing() ||
               (the_run->fault.kind != FAULT_NONE && the_run->fault.child == number_of(t));
}

/* The broker's calls wait for those of its child. */
void go_on(struct tracee *t, int signal) {
        bool is_seen = is_followed(t) || (t == &child && is_followed(&broker));

        ptrace(is_seen ? PTRACE_SYSCALL : PTRACE_CONT, t->pid, 0, signal);
}

void detach(struct tracee *t, int signal) {
        ptrace(PTRACE_DETACH, t->pid, 0, signal);
        t->pid = 0;
}

/* --- events ----------------------------------------------------------------------------------- */

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

void at_stop(struct tracee *t, int status) {
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
        } else if (is_breakpoint(t->pid, signal)) {
                fprintf(list, "- entry\n");
                go_on(t, 0);
        } else
                go_on(t, signal);
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
        forget_breakpoint();
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
