/* io/fd.c - a descriptor that may block, written to with a deadline; system calls. */
#include "io/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/ascii.h"

/* Which of the standard descriptors, whose kind does not change, are no sockets as far as we know. */
static bool may_be_socket[STDERR_FILENO + 1] = { true, true, true };

/* One write that does not block. A pipe has room for PIPE_BUF octets where poll() called it writable (POSIX write()), files do
 * not wait, and a socket knows MSG_DONTWAIT. */
static ssize_t write_some(int fd, bool is_writable, const void *data, size_t n) {
        bool is_standard = fd <= STDERR_FILENO;
        ssize_t k = -1;

        if (!is_standard || may_be_socket[fd]) {
                k = send(fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (k >= 0 || errno != ENOTSOCK)
                        return k < 0 ? -errno : k;
                if (is_standard)
                        may_be_socket[fd] = false;
        }
        if (!is_writable)
                return -EAGAIN;
        k = write(fd, data, n < PIPE_BUF ? n : PIPE_BUF);
        return k < 0 ? -errno : k;
}

int fd_passed(const char *variable) {
        const char *number = getenv(variable);
        uint64_t fd;

        if (!number || !ascii_parse_number(number, INT_MAX, &fd) || fd <= STDERR_FILENO)
                return -1;
        return fcntl((int) fd, F_SETFD, FD_CLOEXEC) == 0 ? (int) fd : -1;
}

int fd_write(int fd, struct patience *p, const char **data, size_t *n, int64_t deadline) {
        struct pollfd room = { .fd = fd, .events = POLLOUT };
        bool is_writable = false;

        while (*n > 0) {
                ssize_t k = write_some(fd, is_writable, *data, *n);
                int r;

                if (k > 0) {
                        *data += k;
                        *n -= (size_t) k;
                        is_writable = false;
                } else if (k == -EAGAIN) {
                        if ((r = patience_wait(p, &room, 1, deadline)) < 0)
                                return r;
                        is_writable = true;
                } else if (k != -EINTR)
                        return (int) k;
        }
        return 0;
}

bool fd_is_null(int fd) {
        struct stat st;

        return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

void fd_close(int *fd) {
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

int fd_make_pipe(int ret[static 2]) {
        if (pipe2(ret, O_CLOEXEC) < 0)
                return -errno;
        fcntl(ret[0], F_SETFL, O_NONBLOCK);
        return 0;
}

/* Numbers are given out from the lowest: the n-th free one is tried. To ask for the limit itself a
 * session may no longer be allowed. */
int fd_check_room(size_t n) {
        int fd = STDIN_FILENO, copy;

        for (size_t n_free = 0; n_free < n; n_free += fcntl(fd, F_GETFD) < 0)
                fd++;
        copy = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, fd);
        if (copy >= 0)
                close(copy);
        return copy < 0 ? -EMFILE : 0;
}

int fd_close_range(unsigned first, unsigned flags) {
        return (int) syscall(SYS_close_range, first, ~0U, flags);
}

int fd_open_process(pid_t pid) {
        return (int) syscall(SYS_pidfd_open, pid, 0);
}
