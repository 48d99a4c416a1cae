/* SPDX-License-Identifier: MIT */
/* helpers/show_confine.c - what smtpd-show gives up. */
#include "helpers/show_confine.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/array.h"
#include "filter.h"

enum {
        CPU_SECONDS = 30,
};

#define MEMORY (1UL << 30)

static void limit(int resource, rlim_t n) {
        const struct rlimit r = { n, n };

        setrlimit((__rlimit_resource_t) resource, &r);
}

#if FILTER_IS_KNOWN && SANDBOX

/* A library that looks for a file, as iconv(3) does for a set that was not loaded, goes on without
 * it. */
static void restrict_calls(void) {
        const struct filter_rule rules[] = {
                ALWAYS(brk),
                IF(mmap, 2, PROT_READ | PROT_WRITE),
                IF(mmap, 2, PROT_NONE),
                IF(mprotect, 2, PROT_READ | PROT_WRITE),
                ALWAYS(munmap),
                ALWAYS(mremap),
                ALWAYS(madvise),
                ALWAYS(futex),
                ALWAYS(getrandom),
                ALWAYS(sysinfo),
                FAILS(openat),
        /* the page, and the reply */
#ifdef __NR_poll
                ALWAYS(poll),
#endif
                ALWAYS(ppoll),
                ALWAYS(write),
                ALWAYS(pwritev2),
                IF_NULL(sendto, 4),
                ALWAYS(fstat),
                IF(newfstatat, 3, AT_EMPTY_PATH),
                ALWAYS(lseek),
                ALWAYS(ftruncate),
                IF(fcntl, 1, F_GETFL),
                IF(fcntl, 1, F_SETLK),
                IF(ioctl, 1, TCGETS),
                ALWAYS(clock_gettime),
                /* the end */
                ALWAYS(getpid),
                ALWAYS(gettid),
                IF(tgkill, 0, getpid()),
                ALWAYS(rt_sigaction),
                ALWAYS(rt_sigprocmask),
                ALWAYS(rt_sigreturn),
                ALWAYS(restart_syscall),
                ALWAYS(exit),
                ALWAYS(exit_group),
        };

        filter_enter(rules, ELEMENTS(rules));
}

#else

static void restrict_calls(void) {}

#endif

void confine_show(void) {
        limit(RLIMIT_CORE, 0); /* with somebody's mail in it */
        limit(RLIMIT_CPU, CPU_SECONDS);
        if (SANDBOX) { /* a sanitizer has more memory, and looks into its own */
                limit(RLIMIT_AS, MEMORY);
                prctl(PR_SET_DUMPABLE, 0);
        }
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        restrict_calls();
}
