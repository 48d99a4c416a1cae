/* SPDX-License-Identifier: MIT */
/* filter.c - a process confines itself to a list of system calls. */
#include "filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/array.h"

#if FILTER_IS_KNOWN

#ifdef __x86_64__
#define NATIVE AUDIT_ARCH_X86_64
#else
#define NATIVE AUDIT_ARCH_AARCH64
#endif

#if SANDBOX_DEBUG
#include <calls.h> /* made by the build */
#define OTHERWISE SECCOMP_RET_TRAP
#else
#define OTHERWISE SECCOMP_RET_KILL_PROCESS
#endif

enum { INSTRUCTIONS = 240 }; /* a jump leads 255 instructions further at most */

struct filter {
        struct sock_filter code[INSTRUCTIONS];
        unsigned short n;
};

/* As `jt` and `jf`: to the last instruction, which allows the call, and to those before it. */
enum { TO_ALLOW = 255, TO_REFUSE = 254, TO_FAIL = 253 };

static void put(struct filter *f, unsigned code, unsigned k, unsigned jt, unsigned jf) {
        if (f->n < INSTRUCTIONS)
                f->code[f->n++] = (struct sock_filter) { (unsigned short) code, (unsigned char) jt,
                                                         (unsigned char) jf, k };
}

static void put_load(struct filter *f, size_t offset) {
        put(f, BPF_LD | BPF_W | BPF_ABS, (unsigned) offset, 0, 0);
}

static size_t argument_of(const struct filter_rule *r) {
        return offsetof(struct seccomp_data, args) + 8UL * (unsigned) r->argument +
               4UL * r->is_upper;
}

static void put_rule(struct filter *f, const struct filter_rule *r, unsigned miss) {
        unsigned hit = r->is_never ? TO_REFUSE : TO_ALLOW;

        put(f, BPF_JMP | BPF_JEQ | BPF_K, r->value, r->is_unless ? miss : hit,
            r->is_unless ? hit : miss);
}

/* The rules of the first call among n, and returns how many those are. */
static size_t put_call(struct filter *f, const struct filter_rule *rules, size_t n) {
        unsigned any = rules->is_failing ? TO_FAIL : TO_ALLOW;
        unsigned short begin = f->n;
        size_t n_rules = 1;

        while (n_rules < n && rules[n_rules].number == rules->number)
                n_rules++;
        put(f, BPF_JMP | BPF_JEQ | BPF_K, rules->number, rules->argument == FILTER_ANY ? any : 0,
            0);
        if (rules->argument == FILTER_ANY)
                return n_rules;
        for (size_t i = 0; i < n_rules; i++) {
                if (i == 0 || argument_of(rules + i) != argument_of(rules + i - 1))
                        put_load(f, argument_of(rules + i));
                put_rule(f, rules + i, i + 1 < n_rules ? 0 : TO_REFUSE);
        }
        if (begin < INSTRUCTIONS)
                f->code[begin].jf = (unsigned char) (f->n - begin - 1);
        return n_rules;
}

/* How far the instruction at `i` jumps. */
static unsigned char resolve(const struct filter *f, unsigned short i, unsigned char jump) {
        if (jump < TO_FAIL)
                return jump;
        return (unsigned char) (f->n - 1 - (TO_ALLOW - jump) - i - 1);
}

/* Where it is the only filter it begins with an instruction that does nothing, at which the kernel
 * gives up to find out beforehand what is said of each number there is. That would pay in a process
 * of many system calls; it takes longer than a session's all together. */
static void put_filter(struct filter *f, const struct filter_rule *rules, size_t n) {
        if (prctl(PR_GET_SECCOMP) == 0)
                put(f, BPF_MISC | BPF_TAX, 0, 0, 0);
        put_load(f, offsetof(struct seccomp_data, arch));
        put(f, BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 1, 0);
        put(f, BPF_RET | BPF_K, OTHERWISE, 0, 0);
        put_load(f, offsetof(struct seccomp_data, nr));
        put(f, BPF_JMP | BPF_JEQ | BPF_K, ~0U, TO_ALLOW, 0); /* none: a debugger took it out */
        for (size_t i = 0; i < n;)
                i += put_call(f, rules + i, n - i);
        put(f, BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 1); /* io/syslog.h, if syslogd is gone */
        put(f, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM, 0, 0);
        put(f, BPF_RET | BPF_K, OTHERWISE, 0, 0);
        put(f, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
        for (unsigned short i = 0; i < f->n; i++) {
                f->code[i].jt = resolve(f, i, f->code[i].jt);
                f->code[i].jf = resolve(f, i, f->code[i].jf);
        }
}

#if SANDBOX_DEBUG
static void say(const char *text) {
        ssize_t n = write(STDERR_FILENO, text, strlen(text));

        (void) n;
}

/* Of a debug build: says which call it was, before it ends. */
static void on_stopped_call(int signal_number, siginfo_t *info, void *context) {
        size_t n = (size_t) info->si_syscall;

        (void) context;
        say(PROGRAM ": the sandbox stopped the system call ");
        say(n < ELEMENTS(call_names) && call_names[n] ? call_names[n] : "(unknown)");
        say("\n");
        signal(signal_number, SIG_DFL);
        raise(signal_number);
}

static void watch_calls(void) {
        const struct sigaction action = { .sa_sigaction = on_stopped_call, .sa_flags = SA_SIGINFO };

        sigaction(SIGSYS, &action, NULL);
}
#else
static void watch_calls(void) {}
#endif

bool filter_enter(const struct filter_rule *rules, size_t n) {
        static struct filter f;
        struct sock_fprog program = { .filter = f.code };

        watch_calls();
        f.n = 0;
        put_filter(&f, rules, n);
        program.len = f.n;
        return f.n < INSTRUCTIONS && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

const char *filter_missing(void) {
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == 0 || errno == EFAULT)
                return NULL;
        return "the kernel, or a sandbox around us, has no seccomp filters";
}

#else

bool filter_enter(const struct filter_rule *rules, size_t n) {
        (void) rules;
        (void) n;
        return false;
}

const char *filter_missing(void) {
#ifdef __GLIBC__
        return "this architecture's system calls are not known here";
#else
        return "this C library's system calls are not known here: build with glibc";
#endif
}

#endif
