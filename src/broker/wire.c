/* SPDX-License-Identifier: MIT */
/* broker/wire.c - octets, and descriptors, over the socket between a session and its broker. */
#include "broker/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/deadline.h"
#include "io/patience.h"

enum { PAUSE = 5 }; /* milliseconds */

union control {
        struct cmsghdr header;
        char room[CMSG_SPACE(PASSED_MAX * sizeof(int))];
};

static ssize_t send_some(int fd, const char *data, size_t n, const struct passed *passed) {
        size_t n_passed = passed ? passed->n * sizeof(int) : 0;
        struct iovec octets = { (char *) data, n };
        union control control = { 0 };
        struct msghdr m = { .msg_iov = &octets, .msg_iovlen = 1 };
        struct cmsghdr *c;

        if (n_passed > 0) {
                m.msg_control = &control;
                m.msg_controllen = (socklen_t) CMSG_SPACE(n_passed);
                c = CMSG_FIRSTHDR(&m);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = (socklen_t) CMSG_LEN(n_passed);
                memcpy(CMSG_DATA(c), passed->fds, n_passed);
        }
        return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Those that came, as long as we have not all that we can take. There is room for one control
 * message. */
static void take_descriptors(struct msghdr *m, struct passed *passed) {
        const struct cmsghdr *c = CMSG_FIRSTHDR(m);
        const unsigned char *data;
        size_t n;
        int fd;

        if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                return;
        data = CMSG_DATA(c);
        for (n = c->cmsg_len - CMSG_LEN(0); n >= sizeof(fd); n -= sizeof(fd)) {
                memcpy(&fd, data, sizeof(fd));
                data += sizeof(fd);
                if (passed->n < PASSED_MAX)
                        passed->fds[passed->n++] = fd;
                else
                        close(fd);
        }
}

/* Without room for a descriptor the kernel closes it. */
static ssize_t receive_some(int fd, void *data, size_t n, struct passed *passed) {
        struct iovec octets = { data, n };
        union control control;
        struct msghdr m = {
                .msg_iov = &octets,
                .msg_iovlen = 1,
                .msg_control = passed ? &control : NULL,
                .msg_controllen = passed ? sizeof(control) : 0,
        };
        ssize_t k = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

        if (k > 0 && passed)
                take_descriptors(&m, passed);
        return k;
}

/* The kernel counts descriptors on their way of all processes of a user against the limit of each:
 * of many sessions at once some have to wait a moment. */
static int wait_for_others(int64_t deadline) {
        int64_t until = deadline_now() + PAUSE;

        if (deadline_left(deadline) == 0)
                return -ETOOMANYREFS;
        patience_wait(NULL, NULL, 0, until < deadline ? until : deadline);
        return 0;
}

/* After an error of a call: 0 to try again. */
static int wait_for(int fd, short events, int64_t deadline) {
        struct pollfd ready = { fd, events, 0 };

        if (errno == EINTR)
                return 0;
        if (errno == ETOOMANYREFS)
                return wait_for_others(deadline);
        return errno == EAGAIN ? patience_wait(NULL, &ready, 1, deadline) : -errno;
}

int wire_send(int fd, const void *data, size_t n, const struct passed *passed, int64_t deadline) {
        const char *octets = data;
        int r = 0;

        while (n > 0 && r == 0) {
                ssize_t k = send_some(fd, octets, n, passed);

                if (k < 0)
                        r = wait_for(fd, POLLOUT, deadline);
                else {
                        passed = NULL;
                        octets += k;
                        n -= (size_t) k;
                }
        }
        return r;
}

static int receive_all(int fd, char *octets, size_t n, struct passed *passed, int64_t deadline) {
        int r = 0;

        while (n > 0 && r == 0) {
                ssize_t k = receive_some(fd, octets, n, passed);

                if (k < 0)
                        r = wait_for(fd, POLLIN, deadline);
                else if (k == 0)
                        r = -ECONNRESET;
                else {
                        octets += k;
                        n -= (size_t) k;
                }
        }
        return r;
}

void wire_drop(struct passed *passed, size_t n) {
        while (passed->n > n)
                close(passed->fds[--passed->n]);
}

int wire_receive(int fd, void *data, size_t n, struct passed *ret_passed, int64_t deadline) {
        int r;

        if (ret_passed)
                ret_passed->n = 0;
        r = receive_all(fd, data, n, ret_passed, deadline);
        if (r < 0 && ret_passed)
                wire_drop(ret_passed, 0);
        return r;
}
