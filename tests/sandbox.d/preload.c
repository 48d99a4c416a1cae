/* SPDX-License-Identifier: MIT */
/* preload.c - what the kernel or the program itself may do to a session, by LD_PRELOAD: injecting
 * failures from outside is no way, since a call that a tracer has made void is none that the filter
 * allows.
 *
 *   NO_TMPFILE   the file systems have no O_TMPFILE
 *   NO_FILTER    the kernel has no seccomp filters
 *   FAILS        an assertion fails when the session first waits for input
 *   LIES         a long write(2) writes half of it, and says that it wrote all
 *   STAYS        who may not be looked into does not end
 */
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static int is_secret;

int prctl(int option, ...) {
        int (*next)(int, ...) = (int (*)(int, ...)) dlsym(RTLD_NEXT, "prctl");
        unsigned long a[4];
        va_list ap;

        if (option == PR_SET_SECCOMP && getenv("NO_FILTER")) {
                errno = EINVAL;
                return -1;
        }
        va_start(ap, option);
        for (int i = 0; i < 4; i++)
                a[i] = va_arg(ap, unsigned long);
        va_end(ap);
        is_secret |= option == PR_SET_DUMPABLE;
        return next(option, a[0], a[1], a[2], a[3]);
}

int open64(const char *path, int flags, ...) {
        int (*next)(const char *, int, ...) =
                (int (*)(const char *, int, ...)) dlsym(RTLD_NEXT, "open64");
        mode_t mode = 0;
        va_list ap;

        if ((flags & O_TMPFILE) == O_TMPFILE && getenv("NO_TMPFILE")) {
                errno = EOPNOTSUPP;
                return -1;
        }
        if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {
                va_start(ap, flags);
                mode = va_arg(ap, mode_t);
                va_end(ap);
        }
        return next(path, flags, mode);
}

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room) {
        (void) room;
        assert(!(getenv("FAILS") && n > 0 && fds[0].fd == 0 && fds[0].events == POLLIN));
        return ((int (*)(struct pollfd *, nfds_t, int)) dlsym(RTLD_NEXT, "poll"))(fds, n, timeout);
}

int poll(struct pollfd *fds, nfds_t n, int timeout) {
        return __poll_chk(fds, n, timeout, n * sizeof(*fds));
}

ssize_t write(int fd, const void *data, size_t n) {
        ssize_t (*next)(int, const void *, size_t) =
                (ssize_t(*)(int, const void *, size_t)) dlsym(RTLD_NEXT, "write");

        if (n > 1000 * 1000 && getenv("LIES"))
                return next(fd, data, n / 2) < 0 ? -1 : (ssize_t) n;
        return next(fd, data, n);
}

void _exit(int status) {
        while (is_secret && getenv("STAYS"))
                poll(NULL, 0, -1);
        ((void (*)(int)) dlsym(RTLD_NEXT, "_exit"))(status);
        __builtin_unreachable();
}
