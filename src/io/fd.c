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

/* Waits until fd can be written to. */
static int wait_for_room(int fd, int stop_fd, int64_t deadline) {
        struct pollfd fds[] = { { .fd = fd, .events = POLLOUT }, { .fd = stop_fd, .events = POLLIN } };
        int r;

        while ((r = poll(fds, 2, deadline_left(deadline))) < 0 && errno == EINTR)
                ;
        return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : fds[0].revents ? 0 : -ECANCELED;
}

int fd_write_all(int fd, int stop_fd, const void *data, size_t n, int64_t deadline) {
        const char *p = data;

        while (n > 0) {
                int r = wait_for_room(fd, stop_fd, deadline);
                ssize_t k;

                if (r < 0)
                        return r;
                k = write_some(fd, p, n);
                if (k < 0 && k != -EINTR && k != -EAGAIN)
                        return (int) k;
                if (k > 0)
                        p += k, n -= (size_t) k;
        }
        return 0;
}
