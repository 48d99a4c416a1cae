/* SPDX-License-Identifier: MIT */
/* io/fd.c - descriptors: writing with a deadline, checks, system calls. */
#include "io/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/text.h"

/* Which of the standard descriptors, whose kind does not change, are no sockets as far as we know.
 */
static bool may_be_socket[STDERR_FILENO + 1] = { true, true, true };

static bool is_file(int fd) {
        struct stat st;

        return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* Of RWF_NOWAIT, to the kernel. */
static bool is_unknown(int error) {
        return error == EOPNOTSUPP || error == ENOSYS;
}

/* With RWF_NOWAIT the kernel says whether a write would wait, if it is new enough (for pipes, Linux
 * 6.4). Older ones wait for room: they write when poll(2) says that there is some, for PIPE_BUF
 * octets (POSIX write()), unless others have filled the pipe since (there fd_make_own() helps).
 * Files do not wait. */
static ssize_t write_now(int fd, bool is_writable, const void *data, size_t n) {
        struct iovec piece = { (void *) data, n < PIPE_BUF ? n : PIPE_BUF };
        ssize_t k = syscall(SYS_pwritev2, fd, &piece, 1, -1L, -1L, RWF_NOWAIT);

        if (k >= 0 || (errno != EAGAIN && !is_unknown(errno)))
                return k < 0 ? -errno : k;
        if (!(is_writable && is_unknown(errno)) && !is_file(fd))
                return -EAGAIN;
        k = write(fd, data, piece.iov_len);
        return k < 0 ? -errno : k;
}

/* One write that does not block: a socket knows MSG_DONTWAIT. */
static ssize_t write_some(int fd, bool is_writable, const void *data, size_t n) {
        bool is_standard = fd <= STDERR_FILENO;

        if (!is_standard || may_be_socket[fd]) {
                ssize_t k = send(fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (k >= 0 || errno != ENOTSOCK)
                        return k < 0 ? -errno : k;
                if (is_standard)
                        may_be_socket[fd] = false;
        }
        return write_now(fd, is_writable, data, n);
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

void fd_make_own(int fd) {
        int flags = fcntl(fd, F_GETFL), is_closed_at_exec = fcntl(fd, F_GETFD) & FD_CLOEXEC, own;
        char path[32];

        text_format(path, sizeof(path), "/proc/self/fd/%d", fd);
        own = open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_CLOEXEC);
        if (own < 0)
                return;
        dup3(own, fd, is_closed_at_exec ? O_CLOEXEC : 0);
        close(own);
}

bool fd_is_null_device(const struct stat *st) {
        return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

bool fd_is_null(int fd) {
        struct stat st;

        return fstat(fd, &st) == 0 && fd_is_null_device(&st);
}

bool fd_is_journal(const struct stat *st) {
        const char *stream = getenv("JOURNAL_STREAM");
        uint64_t dev, ino;

        if (!stream || *(stream = ascii_read_number(stream, &dev)) != ':')
                return false;
        return *ascii_read_number(stream + 1, &ino) == '\0' && dev == st->st_dev &&
               ino == st->st_ino;
}

static bool is_standard_error(int fd) {
        struct stat st, err;

        return fstat(fd, &st) == 0 && fstat(STDERR_FILENO, &err) == 0 && st.st_dev == err.st_dev &&
               st.st_ino == err.st_ino;
}

bool fd_is_outgoing(int fd) {
        struct sockaddr_un own = { 0 }, other;
        socklen_t n_own = sizeof(own), n_other = sizeof(other);

        if (getsockname(fd, (struct sockaddr *) &own, &n_own) == 0 && own.sun_family == AF_UNIX &&
            getpeername(fd, (struct sockaddr *) &other, &n_other) == 0 &&
            n_own == sizeof(own.sun_family) && n_other > sizeof(other.sun_family))
                return true;
        return is_standard_error(fd);
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

/* Numbers are below this one. A confined session cannot ask for it any more. */
static rlim_t limit = RLIM_INFINITY;

void fd_set_limit(size_t n) {
        struct rlimit r = { n, n };

        if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur > n)
                r.rlim_cur = n;
        r.rlim_max = r.rlim_cur;
        setrlimit(RLIMIT_NOFILE, &r);
        limit = r.rlim_cur;
}

static rlim_t get_limit(void) {
        struct rlimit r;

        return limit != RLIM_INFINITY || getrlimit(RLIMIT_NOFILE, &r) < 0 ? limit : r.rlim_cur;
}

int fd_check_room(size_t n) {
        rlim_t end = get_limit();
        size_t n_free = 0;

        for (rlim_t fd = 0; fd < end && n_free < n; fd++)
                n_free += fcntl((int) fd, F_GETFD) < 0;
        return n_free < n ? -EMFILE : 0;
}

int fd_close_range(unsigned first, unsigned flags) {
        return (int) syscall(SYS_close_range, first, ~0U, flags);
}

int fd_close_between(unsigned first, unsigned last) {
        return (int) syscall(SYS_close_range, first, last, 0);
}

int fd_open_process(pid_t pid) {
        return (int) syscall(SYS_pidfd_open, pid, 0);
}
