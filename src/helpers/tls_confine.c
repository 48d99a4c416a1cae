/* SPDX-License-Identifier: MIT */
/* helpers/tls_confine.c - what the engine gives up.
 *
 * All files are read before. OpenSSL then needs memory, random numbers, and to know whether it was
 * forked; newer versions ask for more of that. Nothing here has a name: no file, no address, no
 * program.
 */
#include "helpers/tls_confine.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/array.h"
#include "filter.h"
#include "io/fd.h"
#include "io/log.h"

enum {
        DESCRIPTORS = 16,
        FORK = CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID |
               SIGCHLD, /* as fork(3) does it: memory is not shared */
};

void tls_confine_before_key(void) {
        const struct rlimit none = { 0, 0 };

        setrlimit(RLIMIT_CORE, &none);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (SANDBOX) /* a sanitizer looks into its own memory by ptrace(2) */
                prctl(PR_SET_DUMPABLE, 0);
}

/* Once: a server's children know that it has. */
static void say_unconfined(void) {
        static bool is_said;

        if (!is_said)
                log_say(LOG_WARNING,
                        "TLS: the processes that read from clients are not confined: %s",
                        filter_missing() ? filter_missing() : "the filter is too long");
        is_said = true;
}

#if FILTER_IS_KNOWN && SANDBOX

#ifdef __NR_poll
#define WAIT ALWAYS(poll), ALWAYS(ppoll)
#else
#define WAIT ALWAYS(ppoll)
#endif

/* F_SETLK and fstat are the log's: other lines may come between. */
#define FOR_A_CONNECTION                                                                           \
        ALWAYS(recvfrom), IF_NULL(sendto, 4), WAIT, ALWAYS(clock_gettime), ALWAYS(getpid),         \
                ALWAYS(getrandom), ALWAYS(read), ALWAYS(write), ALWAYS(shutdown), ALWAYS(close),   \
                ALWAYS(pwritev2), ALWAYS(fstat), IF(newfstatat, 3, AT_EMPTY_PATH),                 \
                IF(fcntl, 1, F_SETLK), IF(fcntl, 1, F_GETFL), IF(fcntl, 1, F_GETFD)

#define FOR_ANY                                                                                    \
        IF(mmap, 2, PROT_READ | PROT_WRITE), IF(mmap, 2, PROT_NONE),                               \
                IF(mprotect, 2, PROT_READ | PROT_WRITE), ALWAYS(munmap), ALWAYS(mremap),           \
                ALWAYS(brk), ALWAYS(madvise), ALWAYS(futex), ALWAYS(sysinfo), ALWAYS(nanosleep),   \
                ALWAYS(clock_nanosleep), ALWAYS(restart_syscall), ALWAYS(rt_sigaction),            \
                ALWAYS(rt_sigprocmask), ALWAYS(rt_sigreturn), ALWAYS(gettid),                      \
                IF(tgkill, 0, getpid()), ALWAYS(exit), ALWAYS(exit_group)

#ifdef __NR_alarm
#define ALARM ALWAYS(alarm), ALWAYS(setitimer)
#else
#define ALARM ALWAYS(setitimer)
#endif

/* Files that are opened for reading, as fopen(3) does it. It comes before the other lists: they
 * allow newfstatat(2) of descriptors only. */
#define FOR_AUTHORITIES                                                                            \
        IF(openat, 2, O_RDONLY), IF(openat, 2, O_RDONLY | O_CLOEXEC), ALWAYS(newfstatat),          \
                ALWAYS(lseek)

void tls_confine_connection(bool reads_files) {
        const struct filter_rule rules[] = { FOR_A_CONNECTION, ALARM, FOR_ANY };
        const struct filter_rule with_files[] = { FOR_AUTHORITIES, FOR_A_CONNECTION, ALARM,
                                                  FOR_ANY };

        fd_set_limit(DESCRIPTORS);
        if (!filter_enter(reads_files ? with_files : rules,
                          reads_files ? ELEMENTS(with_files) : ELEMENTS(rules)))
                say_unconfined();
}

#define FOR_A_SERVER                                                                               \
        ALWAYS(recvmsg), ALWAYS(accept4), ALWAYS(getpeername), ALWAYS(getsockname),                \
                ALWAYS(getsockopt), ALWAYS(setsockopt), IF(clone, 0, FORK),                        \
                ALWAYS(set_robust_list), ALWAYS(rseq), ALWAYS(wait4), ALWAYS(newfstatat),          \
                ALWAYS(faccessat), ALWAYS(faccessat2), IF(prctl, 0, PR_SET_SECCOMP),               \
                IF(prctl, 0, PR_GET_SECCOMP), IF(prlimit64, 0, 0)

/* Its children are under both lists. It cannot run a program, nor open a file unless it verifies:
 * what is new is for whoever starts it anew. */
void tls_confine_server(bool reads_files) {
        const struct filter_rule rules[] = { FOR_A_SERVER, FOR_A_CONNECTION, ALARM, FOR_ANY };
        const struct filter_rule with_files[] = { FOR_AUTHORITIES, FOR_A_SERVER, FOR_A_CONNECTION,
                                                  ALARM, FOR_ANY };

        tls_confine_before_key(); /* another user made some of it undone */
        if (!filter_enter(reads_files ? with_files : rules,
                          reads_files ? ELEMENTS(with_files) : ELEMENTS(rules)))
                say_unconfined();
}

#else

void tls_confine_connection(bool reads_files) {
        (void) reads_files;
        fd_set_limit(DESCRIPTORS);
        if (SANDBOX)
                say_unconfined();
}

void tls_confine_server(bool reads_files) {
        (void) reads_files;
        tls_confine_before_key();
        if (SANDBOX)
                say_unconfined();
}

#endif
