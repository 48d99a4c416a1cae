/* sandbox.c - a session confines itself. */
#include "sandbox.h"

#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "deliver/delivery.h"
#include "io/endpoint.h"
#include "io/log.h"
#include "io/spool.h"

/* The architectures, and the C library, whose system calls the filter knows. Elsewhere there is none:
 * musl's open(3), for example, is open(2) on x86-64, and the filter expects openat(2). */
#if !defined(__GLIBC__)
#elif defined(__x86_64__) && defined(__LP64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__LP64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NATIVE AUDIT_ARCH_AARCH64
#endif

#ifdef NATIVE
#define OTHER_NUMBERS 0x40000000U /* from here on x86-64 has x32's, and nobody else any */

/* --- what system calls may do ------------------------------------------------------------------------------------ */

enum action { KILL, ALLOW, NEW_FILES, NEW_FILES_OR_READING, LOCAL_SOCKETS, NEW_SOCKETS, NO_CODE, OURSELVES, THREADS, FCNTL, IOCTL, ANY_FCNTL, ANY_IOCTL, ABSENT };

struct rule {
        unsigned number;
        enum action action;
};

#ifndef __NR_open /* newer architectures have only openat(2) and its like */
#define __NR_open __NR_openat2
#define __NR_creat __NR_openat2
#define __NR_fork __NR_clone3
#define __NR_vfork __NR_clone3
#define __NR_unlink __NR_unlinkat
#define __NR_poll __NR_ppoll
#define __NR_access __NR_faccessat
#define __NR_stat __NR_newfstatat
#define __NR_lstat __NR_newfstatat
#define __NR_pipe __NR_pipe2
#define __NR_select __NR_pselect6
#define __NR_dup2 __NR_dup3
#define __NR_pause __NR_restart_syscall
#define __NR_alarm __NR_setitimer
#define __NR_chmod __NR_fchmodat
#define __NR_chown __NR_fchownat
#define __NR_lchown __NR_fchownat
#endif

/* Talking to a stranger needs no more than this; whatever else is called ends the process. What is harmless and has a number
 * between others is here too: fewer ranges make a shorter filter. */
static const struct rule strict[] = {
        { __NR_read, ALLOW }, { __NR_write, ALLOW }, { __NR_close, ALLOW }, { __NR_stat, ALLOW }, { __NR_fstat, ALLOW },
        { __NR_lstat, ALLOW }, { __NR_newfstatat, ALLOW }, { __NR_poll, ALLOW }, { __NR_ppoll, ALLOW }, { __NR_lseek, ALLOW },
        { __NR_mmap, NO_CODE }, { __NR_mprotect, NO_CODE }, { __NR_munmap, ALLOW }, { __NR_brk, ALLOW }, { __NR_rt_sigaction, ALLOW },
        { __NR_rt_sigprocmask, ALLOW }, { __NR_rt_sigreturn, ALLOW }, { __NR_ioctl, IOCTL }, { __NR_pread64, ALLOW },
        { __NR_pwrite64, ALLOW }, { __NR_readv, ALLOW }, { __NR_writev, ALLOW }, { __NR_access, ALLOW }, { __NR_pipe, ALLOW },
        { __NR_select, ALLOW }, { __NR_sched_yield, ALLOW }, { __NR_mremap, ALLOW }, { __NR_msync, ALLOW }, { __NR_mincore, ALLOW },
        { __NR_madvise, ALLOW }, { __NR_dup, ALLOW }, { __NR_dup2, ALLOW }, { __NR_pause, ALLOW }, { __NR_nanosleep, ALLOW },
        { __NR_getitimer, ALLOW }, { __NR_alarm, ALLOW }, { __NR_setitimer, ALLOW }, { __NR_getpid, ALLOW }, { __NR_sendfile, ALLOW },
        { __NR_sendto, ALLOW }, { __NR_recvfrom, ALLOW }, { __NR_sendmsg, ALLOW }, { __NR_recvmsg, ALLOW }, { __NR_shutdown, ALLOW },
        { __NR_getsockname, ALLOW }, { __NR_getpeername, ALLOW }, { __NR_setsockopt, ALLOW }, { __NR_getsockopt, ALLOW },
        { __NR_exit, ALLOW }, { __NR_fcntl, FCNTL }, { __NR_unlink, ALLOW }, { __NR_futex, ALLOW }, { __NR_restart_syscall, ALLOW },
        { __NR_clock_gettime, ALLOW }, { __NR_clock_getres, ALLOW }, { __NR_clock_nanosleep, ALLOW }, { __NR_exit_group, ALLOW },
        { __NR_gettid, ALLOW }, { __NR_tgkill, OURSELVES }, { __NR_openat, NEW_FILES }, { __NR_getrandom, ALLOW },
        { __NR_ftruncate, ALLOW }, { __NR_pwritev2, ALLOW },
};

static const struct rule with_network[] = {
        { __NR_socket, ALLOW },
        { __NR_connect, ALLOW },
};

static const struct rule with_syslog[] = {
        { __NR_socket, LOCAL_SOCKETS },
        { __NR_connect, NEW_SOCKETS },
};

/* Where names are looked up, and for the helper, everything is allowed but this: their libraries do what they like. */
static const struct rule with_resolver[] = {
        { __NR_openat, NEW_FILES_OR_READING }, { __NR_open, KILL }, { __NR_creat, KILL }, { __NR_openat2, KILL }, { __NR_execve, KILL },
        { __NR_execveat, KILL }, { __NR_fork, KILL }, { __NR_vfork, KILL }, { __NR_ptrace, KILL }, { __NR_kill, KILL },
        { __NR_process_vm_writev, KILL }, { __NR_process_vm_readv, KILL }, { __NR_io_uring_setup, KILL }, { __NR_mount, KILL },
        { __NR_bpf, KILL }, { __NR_tgkill, OURSELVES }, { __NR_tkill, KILL }, { __NR_rt_sigqueueinfo, KILL },
        { __NR_rt_tgsigqueueinfo, KILL }, { __NR_pidfd_send_signal, KILL }, { __NR_pidfd_getfd, KILL }, { __NR_clone, THREADS },
        { __NR_clone3, ABSENT }, { __NR_listen, KILL }, { __NR_truncate, KILL }, { __NR_fchmod, KILL }, { __NR_fchmodat, KILL },
        { __NR_chmod, KILL }, { __NR_fchown, KILL }, { __NR_fchownat, KILL }, { __NR_chown, KILL }, { __NR_lchown, KILL },
        { __NR_utimensat, KILL }, { __NR_setxattr, KILL }, { __NR_setuid, KILL }, { __NR_setgid, KILL }, { __NR_setresuid, KILL },
        { __NR_setresgid, KILL }, { __NR_setgroups, KILL }, { __NR_unshare, KILL }, { __NR_setns, KILL },
        { __NR_open_by_handle_at, KILL }, { __NR_fcntl, ANY_FCNTL }, { __NR_ioctl, ANY_IOCTL }, { __NR_init_module, KILL },
        { __NR_finit_module, KILL }, { __NR_kexec_load, KILL }, { __NR_reboot, KILL }, { __NR_chroot, KILL }, { __NR_swapon, KILL },
        { __NR_settimeofday, KILL }, { __NR_clock_settime, KILL }, { __NR_setreuid, KILL }, { __NR_setregid, KILL },
        { __NR_capset, KILL }, { __NR_keyctl, KILL }, { __NR_perf_event_open, KILL }, { __NR_userfaultfd, KILL },
        { __NR_lsetxattr, KILL }, { __NR_fsetxattr, KILL },
};

static const struct rule with_helper[] = {
        { __NR_socket, LOCAL_SOCKETS }, { __NR_connect, NEW_SOCKETS }, { __NR_ptrace, KILL }, { __NR_process_vm_writev, KILL }, { __NR_io_uring_setup, KILL },
        { __NR_mount, KILL }, { __NR_bpf, KILL },
};

/* --- the filter --------------------------------------------------------------------------------------------------- */

enum { NUMBERS = 512, RANGES = 100, ACTIONS = ABSENT + 1, INSTRUCTIONS = 250 }; /* a jump leads 255 instructions further at most */

/* Numbers from `first` on, to that of the next range. */
struct range {
        unsigned short first;
        unsigned char action;
};

struct jump {
        unsigned char from;
        bool is_true;
        unsigned char action;
};

struct filter {
        struct sock_filter code[INSTRUCTIONS];
        unsigned short n, n_jumps;
        struct range ranges[RANGES];
        struct jump jumps[RANGES];
        unsigned char actions[NUMBERS]; /* of each number; larger ones have that of the last */
};

static void put_rules(struct filter *f, const struct rule *rules, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (rules[i].number < NUMBERS - 1)
                        f->actions[rules[i].number] = (unsigned char) rules[i].action;
}

static void put(struct filter *f, struct sock_filter instruction) {
        if (f->n < INSTRUCTIONS)
                f->code[f->n++] = instruction;
}

static void put_load(struct filter *f, size_t offset) {
        put(f, (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned) offset));
}

static void put_return(struct filter *f, unsigned what) {
        put(f, (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, what));
}

/* `what`, if the bits of `mask` in an argument (its low half: flags, domains and protections are ints) are `value`. */
static void put_if(struct filter *f, unsigned mask, unsigned value, unsigned argument, unsigned what) {
        put_load(f, offsetof(struct seccomp_data, args) + 8UL * argument);
        put(f, (struct sock_filter) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask));
        put(f, (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
        put_return(f, what);
}

static void put_allow_if(struct filter *f, unsigned mask, unsigned value, unsigned argument) {
        put_if(f, mask, value, argument, SECCOMP_RET_ALLOW);
}

static void put_kill_if(struct filter *f, unsigned value, unsigned argument) {
        put_if(f, ~0U, value, argument, SECCOMP_RET_KILL_PROCESS);
}

/* Descriptors' flags and numbers, and locks; nothing by which a signal goes to somebody. */
static void put_fcntl(struct filter *f, bool is_any) {
        if (is_any) {
                put_kill_if(f, F_SETOWN, 1);
                put_kill_if(f, F_SETOWN_EX, 1);
                put_kill_if(f, F_SETSIG, 1);
                put_return(f, SECCOMP_RET_ALLOW);
        }
        put_allow_if(f, ~7U, 0, 1);
        put_allow_if(f, F_DUPFD_CLOEXEC & ~7U, F_DUPFD_CLOEXEC & ~7U, 1);
}

/* What terminals and sockets have (FIONREAD, SIOCOUTQ, TCGETS), but for typing into a terminal. */
static void put_ioctl(struct filter *f, bool is_any) {
        put_kill_if(f, TIOCSTI, 1);
        put_kill_if(f, TIOCLINUX, 1);
        if (is_any) { /* interfaces, of link-local addresses */
                put_kill_if(f, FIOSETOWN, 1);
                put_kill_if(f, SIOCSPGRP, 1);
                put_return(f, SECCOMP_RET_ALLOW);
        }
        put_allow_if(f, ~0x3fU, TCGETS & ~0x3fU, 1);
}

static void put_action(struct filter *f, enum action action) {
        if (action == NEW_FILES || action == NEW_FILES_OR_READING) {
                put_allow_if(f, O_TMPFILE, O_TMPFILE, 2);
                put_allow_if(f, O_CREAT | O_EXCL, O_CREAT | O_EXCL, 2);
        }
        if (action == NEW_FILES_OR_READING)
                put_allow_if(f, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY, 2);
        if (action == LOCAL_SOCKETS)
                put_allow_if(f, ~0U, AF_UNIX, 0);
        if (action == NO_CODE)
                put_allow_if(f, PROT_EXEC, 0, 2);
        if (action == NEW_SOCKETS) { /* not the client's connection, which could be turned to somebody else */
                put_if(f, ~1U, 0, 0, SECCOMP_RET_KILL_PROCESS);
                put_return(f, SECCOMP_RET_ALLOW);
        }
        if (action == FCNTL || action == ANY_FCNTL)
                put_fcntl(f, action == ANY_FCNTL);
        if (action == IOCTL || action == ANY_IOCTL)
                put_ioctl(f, action == ANY_IOCTL);
        if (action == OURSELVES)
                put_allow_if(f, ~0U, (unsigned) getpid(), 0);
        if (action == THREADS)
                put_allow_if(f, CLONE_THREAD, CLONE_THREAD, 0);
        put_return(f, action == ALLOW    ? SECCOMP_RET_ALLOW
                      : action == ABSENT ? SECCOMP_RET_ERRNO | ENOSYS /* its flags are in memory; the C library does without */
                                         : SECCOMP_RET_KILL_PROCESS);
}

static unsigned char *target_of(struct sock_filter *jump, bool is_true) {
        return is_true ? &jump->jt : &jump->jf;
}

/* A binary search in the ranges from..to. A single range is no code yet, but a jump to what it does, which is put in later. */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as the logarithm of the number of ranges, which are ours */
static void put_search(struct filter *f, unsigned short jump, bool is_true, size_t from, size_t to) {
        size_t middle = from + (to - from) / 2;
        unsigned short here = f->n;

        if (to - from == 1) {
                f->jumps[f->n_jumps++] = (struct jump) { (unsigned char) jump, is_true, f->ranges[from].action };
                return;
        }
        if (jump != here)
                *target_of(&f->code[jump], is_true) = (unsigned char) (here - jump - 1);
        put(f, (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, f->ranges[middle].first, 0, 0));
        put_search(f, here, false, from, middle);
        put_search(f, here, true, middle, to);
}

/* What the ranges do, once each, and the jumps to it. */
static void put_actions(struct filter *f) {
        for (unsigned action = 0; action < ACTIONS; action++) {
                unsigned short here = f->n;

                for (size_t i = 0; i < f->n_jumps; i++)
                        if (f->jumps[i].action == action) {
                                *target_of(&f->code[f->jumps[i].from], f->jumps[i].is_true) = (unsigned char) (here - f->jumps[i].from - 1);
                                if (f->n == here)
                                        put_action(f, (enum action) action);
                        }
        }
}

/* Where it is the only filter it begins with an instruction that does nothing, at which the kernel gives up to find out beforehand what
 * is said of each number there is. That would pay in a process of many system calls; it takes longer than a session's all together.
 * Where there are others already (a unit's), it would cost what the kernel knows of those. */
static void put_filter(struct filter *f) {
        size_t n = 0;

        for (unsigned i = 0; i < NUMBERS && n < RANGES; i++)
                if (i == 0 || f->actions[i] != f->actions[i - 1])
                        f->ranges[n++] = (struct range) { (unsigned short) i, f->actions[i] };
        if (syscall(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0) == 0)
                put(f, (struct sock_filter) BPF_STMT(BPF_MISC | BPF_TAX, 0));
        put_load(f, offsetof(struct seccomp_data, arch));
        put(f, (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 1, 0));
        put_return(f, SECCOMP_RET_KILL_PROCESS);
        put_load(f, offsetof(struct seccomp_data, nr));
        put(f, (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, OTHER_NUMBERS, 0, 3));
        put(f, (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ~0U, 0, 1)); /* none: a debugger took it out */
        put_return(f, SECCOMP_RET_ALLOW);
        put_return(f, SECCOMP_RET_KILL_PROCESS);
        put_search(f, f->n, false, 0, n);
        put_actions(f);
}

static void install_filter(struct filter *f) {
        struct sock_fprog program = { .filter = f->code };

        put_filter(f);
        program.len = f->n;
        if (f->n < INSTRUCTIONS)
                syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static void restrict_calls(enum delivery_needs needs, bool is_strict) {
        static struct filter f;

        if (is_strict)
                put_rules(&f, strict, ELEMENTS(strict));
        else
                memset(f.actions, ALLOW, sizeof(f.actions));
        if (needs == NEEDS_NOTHING && log_current_target() == LOG_TO_SYSLOG)
                put_rules(&f, with_syslog, ELEMENTS(with_syslog));
        if (needs == NEEDS_HELPER)
                put_rules(&f, with_helper, ELEMENTS(with_helper));
        else if (needs == NEEDS_NETWORK)
                put_rules(&f, with_network, ELEMENTS(with_network));
        if (needs == NEEDS_NETWORK && !is_strict)
                put_rules(&f, with_resolver, ELEMENTS(with_resolver));
        install_filter(&f);
}

#else

static void restrict_calls(enum delivery_needs needs, bool is_strict) {
        (void) needs;
        (void) is_strict;
}

#endif

/* --- files -------------------------------------------------------------------------------------------------------- */

#define READING (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITING (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG)

static void allow_below(int rules, const char *path, unsigned long long access) {
        struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = open(path, O_PATH | O_CLOEXEC) };

        if (rule.parent_fd < 0)
                return;
        syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
        close(rule.parent_fd);
}

/* Nothing is executed; files are written where the spool is, and read where the system's configuration and libraries are. */
static void restrict_files(void) {
        static const char *const readable[] = { "/etc", "/usr", "/lib", "/lib64", "/run", "/dev", "/proc", "/sys", "/var/lib" };
        const struct landlock_ruleset_attr all = { .handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE | READING | WRITING |
                LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM };
        int rules = (int) syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);

        if (rules < 0)
                return;
        for (size_t i = 0; i < ELEMENTS(readable); i++)
                allow_below(rules, readable[i], READING);
        for (const char *const *p = spool_directories(); *p; p++)
                allow_below(rules, *p, READING | WRITING);
        syscall(SYS_landlock_restrict_self, rules, 0);
        close(rules);
}

/* --- all together --------------------------------------------------------------------------------------------------- */

static bool is_name(const char *endpoint) {
        struct sockaddr_storage address;
        struct endpoint e;

        return *endpoint != '/' && endpoint_split(endpoint, "25", &e) && endpoint_address(&e, &address) == 0;
}

static bool has_names(const struct config *c) {
        for (size_t i = 0; i < c->upstream.n; i++)
                if (is_name(c->upstream.items[i]))
                        return true;
        return c->mailman && is_name(c->mailman);
}

/* All by syscall(2): each further function of the C library would cost pages of it. */
static void set_limits(const struct config *c, enum delivery_needs needs) {
        rlim_t n = 64 + (needs == NEEDS_NETWORK ? c->max_recipients : 0); /* a list needs one */
        struct rlimit none = { 0, 0 }, few;

        syscall(SYS_prlimit64, 0, RLIMIT_CORE, &none, NULL); /* with somebody's mail in it */
        if (needs == NEEDS_HELPER || syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &few) < 0)
                return; /* it opens all files of the journal */
        few.rlim_cur = few.rlim_max = n < few.rlim_max ? n : few.rlim_max;
        syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &few, NULL);
}

void sandbox_enter(const struct config *c) {
        enum delivery_needs needs = c->mailman_wrapper ? NEEDS_PROGRAMS : c->strategy->needs;
        bool is_strict = needs == NEEDS_NOTHING || (needs == NEEDS_NETWORK && !has_names(c));

        if (!c->sandbox || needs == NEEDS_PROGRAMS || syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return;
        set_limits(c, needs);
        if (log_current_target() == LOG_TO_SYSLOG)
                tzset(); /* syslog(3) reads the time zone's file, while it can */
        if (needs == NEEDS_NETWORK && !is_strict)
                restrict_files();
        restrict_calls(needs, is_strict);
}
