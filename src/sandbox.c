/* sandbox.c - a session confines itself: one short list of system calls, the same for all. */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/array.h"
#include "io/fd.h"

/* The architectures, and the C library, whose system calls the list knows. */
#if !defined(__GLIBC__)
#define WITHOUT "this C library's system calls are not known here: build with glibc"
#elif defined(__x86_64__) && defined(__LP64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__LP64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NATIVE AUDIT_ARCH_AARCH64
#else
#define WITHOUT "this architecture's system calls are not known here"
#endif

#ifdef NATIVE

#if SANDBOX_DEBUG
#include <calls.h> /* made by the build */
#define OTHERWISE SECCOMP_RET_TRAP
#else
#define OTHERWISE SECCOMP_RET_KILL_PROCESS
#endif

enum { ANY = -1, SPOOL_FLAGS = O_TMPFILE | O_RDWR | O_CLOEXEC };

/* A call that is allowed: always, or if (or unless) an argument has a value. */
struct rule {
        unsigned number;
        int argument;
        bool is_unless, is_pointer; /* pointers have two halves */
        unsigned value;
};

#define ALWAYS(call) { .number = __NR_##call, .argument = ANY }
#define IF(call, index, is) { .number = __NR_##call, .argument = (index), .value = (unsigned) (is) }
#define UNLESS(call, index, is) \
        { .number = __NR_##call, .argument = (index), .value = (unsigned) (is), .is_unless = true }
#define IF_NULL(call, index) \
        { .number = __NR_##call, .argument = (index), .is_pointer = true }

enum { INSTRUCTIONS = 240 }; /* a jump leads 255 instructions further at most */

struct filter {
        struct sock_filter code[INSTRUCTIONS];
        unsigned short n;
};

/* As `jt` and `jf`: to the last instruction, which allows the call. */
enum { TO_ALLOW = 255 };

static void put(struct filter *f, unsigned code, unsigned k, unsigned jt, unsigned jf) {
        if (f->n < INSTRUCTIONS)
                f->code[f->n++] = (struct sock_filter) { (unsigned short) code, (unsigned char) jt,
                                                         (unsigned char) jf, k };
}

static void put_load(struct filter *f, size_t offset) {
        put(f, BPF_LD | BPF_W | BPF_ABS, (unsigned) offset, 0, 0);
}

static void put_rule(struct filter *f, const struct rule *r) {
        size_t argument = offsetof(struct seccomp_data, args) + 8UL * (unsigned) r->argument;
        unsigned is_equal = r->is_unless ? 0 : TO_ALLOW, is_other = r->is_unless ? TO_ALLOW : 0;

        if (r->argument == ANY) {
                put(f, BPF_JMP | BPF_JEQ | BPF_K, r->number, TO_ALLOW, 0);
                return;
        }
        put(f, BPF_JMP | BPF_JEQ | BPF_K, r->number, 0, r->is_pointer ? 5 : 3);
        if (r->is_pointer) { /* the upper half, of a little-endian number */
                put_load(f, argument + 4);
                put(f, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2);
        }
        put_load(f, argument);
        put(f, BPF_JMP | BPF_JEQ | BPF_K, r->value, is_equal, is_other);
        put_load(f, offsetof(struct seccomp_data, nr));
}

/* Where it is the only filter it begins with an instruction that does nothing, at which the kernel
 * gives up to find out beforehand what is said of each number there is. That would pay in a process
 * of many system calls; it takes longer than a session's all together. */
static void put_filter(struct filter *f, const struct rule *rules, size_t n) {
        if (prctl(PR_GET_SECCOMP) == 0)
                put(f, BPF_MISC | BPF_TAX, 0, 0, 0);
        put_load(f, offsetof(struct seccomp_data, arch));
        put(f, BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 1, 0);
        put(f, BPF_RET | BPF_K, OTHERWISE, 0, 0);
        put_load(f, offsetof(struct seccomp_data, nr));
        put(f, BPF_JMP | BPF_JEQ | BPF_K, ~0U, TO_ALLOW, 0); /* none: a debugger took it out */
        for (size_t i = 0; i < n; i++)
                put_rule(f, rules + i);
        put(f, BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 1); /* io/syslog.h, if syslogd is gone */
        put(f, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM, 0, 0);
        put(f, BPF_RET | BPF_K, OTHERWISE, 0, 0);
        put(f, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
        for (unsigned short i = 0; i < f->n; i++) {
                unsigned char to_last = (unsigned char) (f->n - 1 - i - 1);

                if (f->code[i].jt == TO_ALLOW)
                        f->code[i].jt = to_last;
                if (f->code[i].jf == TO_ALLOW)
                        f->code[i].jf = to_last;
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
        say("smtpd: the sandbox stopped the system call ");
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
static void watch_calls(void) {
}
#endif

/* All that a session needs. Its socket to the broker (-1: it has none) is the only one over which
 * descriptors can go, and stays what it is: it is not closed, and no descriptor is made from
 * another. What it shares with other sessions (the log, the output) keeps its flags and its owner.
 * Frequent ones are first. */
static bool restrict_calls(int broker) {
        static struct filter f;
        const struct rule rules[] = {
#ifdef __NR_poll
                ALWAYS(poll),
#endif
                ALWAYS(read), ALWAYS(write), IF_NULL(sendto, 4), ALWAYS(recvfrom), ALWAYS(ppoll),
                ALWAYS(clock_gettime), ALWAYS(getpid), IF(sendmsg, 0, broker), ALWAYS(recvmsg),
                IF(shutdown, 0, STDOUT_FILENO), IF(shutdown, 0, broker), UNLESS(close, 0, broker),
                /* the message, and the output */
                IF(openat, 2, SPOOL_FLAGS), ALWAYS(memfd_create), ALWAYS(pread64), ALWAYS(lseek),
                ALWAYS(fstat), IF(newfstatat, 3, AT_EMPTY_PATH), ALWAYS(ftruncate),
                ALWAYS(writev), ALWAYS(pwritev2), IF(fcntl, 1, F_GETFL), IF(fcntl, 1, F_GETFD),
                IF(fcntl, 1, F_ADD_SEALS), IF(fcntl, 1, F_SETLK), IF(fcntl, 1, F_OFD_SETLK),
                IF(ioctl, 1, SIOCOUTQ), IF(ioctl, 1, TCGETS),
                /* memory: nothing in it is executed */
                IF(mmap, 2, PROT_READ | PROT_WRITE), IF(mmap, 2, PROT_NONE),
                IF(mprotect, 2, PROT_READ | PROT_WRITE), ALWAYS(munmap), ALWAYS(mremap),
                ALWAYS(brk), ALWAYS(madvise), ALWAYS(futex), ALWAYS(getrandom),
                /* time, and the end */
                ALWAYS(nanosleep), ALWAYS(clock_nanosleep), ALWAYS(restart_syscall),
                ALWAYS(rt_sigaction), ALWAYS(rt_sigprocmask), ALWAYS(rt_sigreturn), ALWAYS(gettid),
                IF(tgkill, 0, getpid()), ALWAYS(exit), ALWAYS(exit_group),
        };
        struct sock_fprog program = { .filter = f.code };

        watch_calls();
        put_filter(&f, rules, ELEMENTS(rules));
        program.len = f.n;
        return f.n < INSTRUCTIONS && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

const char *sandbox_missing(void) {
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == 0 || errno == EFAULT)
                return NULL;
        return "the kernel, or a sandbox around us, has no seccomp filters";
}

#else

static bool restrict_calls(int broker) {
        (void) broker;
        return false;
}

const char *sandbox_missing(void) {
        return WITHOUT;
}

#endif

bool sandbox_enter(int broker, size_t n_descriptors) {
        const struct rlimit none = { 0, 0 };

        setrlimit(RLIMIT_CORE, &none); /* with somebody's mail in it */
        fd_set_limit(n_descriptors);
        prctl(PR_SET_DUMPABLE, 0); /* nobody of the same user looks into our memory */
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && restrict_calls(broker);
}
