/* broker/wire.c - octets, and a descriptor, over the socket between a session and its broker. */
#include "broker/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/patience.h"

union control {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
};

static ssize_t send_some(int fd, const char *data, size_t n, int passed) {
        struct iovec octets = { (char *) data, n };
        union control control = { 0 };
        struct msghdr m = { .msg_iov = &octets, .msg_iovlen = 1 };
        struct cmsghdr *c;

        if (passed >= 0) {
                m.msg_control = &control;
                m.msg_controllen = sizeof(control);
                c = CMSG_FIRSTHDR(&m);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(c), &passed, sizeof(int));
        }
        return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The first one that came, if we want one and have none. There is room for one control message. */
static void take_descriptors(struct msghdr *m, int *ret_passed) {
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
                if (*ret_passed < 0)
                        *ret_passed = fd;
                else
                        close(fd);
        }
}

/* Without room for a descriptor the kernel closes it. */
static ssize_t receive_some(int fd, void *data, size_t n, int *ret_passed) {
        struct iovec octets = { data, n };
        union control control;
        struct msghdr m = {
                .msg_iov = &octets,
                .msg_iovlen = 1,
                .msg_control = ret_passed ? &control : NULL,
                .msg_controllen = ret_passed ? sizeof(control) : 0,
        };
        ssize_t k = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

        if (k > 0 && ret_passed)
                take_descriptors(&m, ret_passed);
        return k;
}

/* After an error of a call: 0 to try again. */
static int wait_for(int fd, short events, int64_t deadline) {
        struct pollfd ready = { fd, events, 0 };

        if (errno == EINTR)
                return 0;
        return errno == EAGAIN ? patience_wait(NULL, &ready, 1, deadline) : -errno;
}

int wire_send(int fd, const void *data, size_t n, int passed, int64_t deadline) {
        const char *octets = data;
        int r = 0;

        while (n > 0 && r == 0) {
                ssize_t k = send_some(fd, octets, n, passed);

                if (k < 0)
                        r = wait_for(fd, POLLOUT, deadline);
                else {
                        passed = -1;
                        octets += k;
                        n -= (size_t) k;
                }
        }
        return r;
}

static int receive_all(int fd, char *octets, size_t n, int *ret_passed, int64_t deadline) {
        int r = 0;

        while (n > 0 && r == 0) {
                ssize_t k = receive_some(fd, octets, n, ret_passed);

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

int wire_receive(int fd, void *data, size_t n, int *ret_passed, int64_t deadline) {
        int r;

        if (ret_passed)
                *ret_passed = -1;
        r = receive_all(fd, data, n, ret_passed, deadline);
        if (r < 0 && ret_passed && *ret_passed >= 0) {
                close(*ret_passed);
                *ret_passed = -1;
        }
        return r;
}
