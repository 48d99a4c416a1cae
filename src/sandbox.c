/* SPDX-License-Identifier: MIT */
/* sandbox.c - a session confines itself: one short list of system calls, the same for all. */
#include "sandbox.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/array.h"
#include "filter.h"
#include "io/fd.h"

#if FILTER_IS_KNOWN

enum { SPOOL_FLAGS = O_TMPFILE | O_RDWR | O_CLOEXEC, PAIR = SOCK_STREAM | SOCK_CLOEXEC };

/* All that a session needs. Its sockets to the broker and to a TLS engine (-1: it has none)
 * are the only ones over which descriptors can go, and stay what they are: they are not
 * closed, and no descriptor is made from another. A pair of its own is of streams: datagrams
 * could be sent to others. What it shares with other sessions (the log, the output, the
 * engine) keeps its flags and its owner, and is not shut down. Frequent ones are first. */
static bool restrict_calls(const struct sandbox_sockets *s) {
        const struct filter_rule rules[] = {
#ifdef __NR_poll
                ALWAYS(poll),
#endif
                ALWAYS(read), ALWAYS(write), IF_NULL(sendto, 4), ALWAYS(recvfrom), ALWAYS(ppoll),
                ALWAYS(clock_gettime), ALWAYS(getpid), ALWAYS(recvmsg), IF(sendmsg, 0, s->broker),
                IF(sendmsg, 0, s->engine), NEVER(close, 0, s->engine), UNLESS(close, 0, s->broker),
                IF(shutdown, 0, STDOUT_FILENO), IF(shutdown, 0, s->broker),
                IF(shutdown, 0, STDIN_FILENO), IF(shutdown, 0, s->farewell), /* of TLS */
                /* the message, and the output */
                IF(openat, 2, SPOOL_FLAGS), ALWAYS(memfd_create), ALWAYS(pread64), ALWAYS(lseek),
                ALWAYS(fstat), IF(newfstatat, 3, AT_EMPTY_PATH), ALWAYS(ftruncate), ALWAYS(writev),
                ALWAYS(pwritev2), IF(fcntl, 1, F_GETFL), IF(fcntl, 1, F_GETFD),
                IF(fcntl, 1, F_ADD_SEALS), IF(fcntl, 1, F_SETLK), IF(fcntl, 1, F_OFD_SETLK),
                IF(ioctl, 1, SIOCOUTQ), IF(ioctl, 1, TCGETS),
                /* memory: nothing in it is executed */
                IF(mmap, 2, PROT_READ | PROT_WRITE), IF(mmap, 2, PROT_NONE),
                IF(mprotect, 2, PROT_READ | PROT_WRITE), ALWAYS(munmap), ALWAYS(mremap),
                ALWAYS(brk), ALWAYS(madvise), ALWAYS(futex), ALWAYS(getrandom),
                /* TLS */
                NEVER_UNLESS(socketpair, 0, AF_UNIX), IF(socketpair, 1, PAIR),
                /* time, and the end */
                ALWAYS(nanosleep), ALWAYS(clock_nanosleep), ALWAYS(restart_syscall),
                ALWAYS(rt_sigaction), ALWAYS(rt_sigprocmask), ALWAYS(rt_sigreturn), ALWAYS(gettid),
                IF(tgkill, 0, getpid()), ALWAYS(exit), ALWAYS(exit_group)
        };

        return filter_enter(rules, ELEMENTS(rules));
}

#else

static bool restrict_calls(const struct sandbox_sockets *s) {
        (void) s;
        return false;
}

#endif

const char *sandbox_missing(void) {
        return filter_missing();
}

bool sandbox_enter(const struct sandbox_sockets *s, size_t n_descriptors) {
        const struct rlimit none = { 0, 0 };

        setrlimit(RLIMIT_CORE, &none); /* with somebody's mail in it */
        fd_set_limit(n_descriptors);
        prctl(PR_SET_DUMPABLE, 0); /* nobody of the same user looks into our memory */
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && restrict_calls(s);
}
