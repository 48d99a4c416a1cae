/* preload.c - what the kernel or the program itself may do to a session, by LD_PRELOAD: injecting failures from outside is no
 * way, since a call that a tracer has made void is none that the filter allows.
 *
 *   NO_TMPFILE   the file systems have no O_TMPFILE
 *   FAILS        an assertion fails when the session first waits for input
 *   SHORT        a long writev(2) writes half of it
 */
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/uio.h>

int open64(const char *path, int flags, ...) {
        int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...)) dlsym(RTLD_NEXT, "open64");
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
        assert(!(getenv("FAILS") && fds[0].fd == 0 && fds[0].events == POLLIN));
        return ((int (*)(struct pollfd *, nfds_t, int)) dlsym(RTLD_NEXT, "poll"))(fds, n, timeout);
}

int poll(struct pollfd *fds, nfds_t n, int timeout) {
        return __poll_chk(fds, n, timeout, n * sizeof(*fds));
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
        ssize_t (*next)(int, const struct iovec *, int) = (ssize_t (*)(int, const struct iovec *, int)) dlsym(RTLD_NEXT, "writev");
        struct iovec halved[1024];

        for (int i = 0; i < n && getenv("SHORT"); i++) {
                halved[i] = parts[i];
                if (parts[i].iov_len > 1000 * 1000) {
                        halved[i].iov_len /= 2;
                        return next(fd, halved, i + 1);
                }
        }
        return next(fd, parts, n);
}
