/* io/fd.c - a descriptor that may block, written to with a deadline. */
#include "io/fd.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/deadline.h"

/* One write that does not block, on a descriptor that poll() called writable: a pipe then has room for PIPE_BUF octets
 * (POSIX write()), a socket knows MSG_DONTWAIT, and files do not wait. */
static ssize_t write_some(int fd, const void *data, size_t n) {
        ssize_t k = send(fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (k < 0 && errno == ENOTSOCK)
                k = write(fd, data, n < PIPE_BUF ? n : PIPE_BUF);
        return k < 0 ? -errno : k;
}

int fd_write_all(int fd, const void *data, size_t n, int64_t deadline) {
        const char *p = data;

        while (n > 0) {
                struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
                ssize_t k;
                int r = poll(&poll_fd, 1, deadline_left(deadline));

                if (r == 0)
                        return -ETIMEDOUT;
                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r < 0)
                        continue;
                k = write_some(fd, p, n);
                if (k < 0 && k != -EINTR && k != -EAGAIN)
                        return (int) k;
                if (k > 0)
                        p += k, n -= (size_t) k;
        }
        return 0;
}
