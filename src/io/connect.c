/* SPDX-License-Identifier: MIT */
/* io/connect.c - from "HOST[:PORT]" or "/SOCKET" to a connected descriptor. */
#include "io/connect.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/deadline.h"
#include "io/endpoint.h"

bool connect_is_endpoint(const char *s) {
        struct sockaddr_un local;
        struct endpoint name;

        if (*s == '/')
                return endpoint_local(s, &local);
        return endpoint_split(s, "25", &name) && strcmp(name.port, "0") != 0;
}

/* Waits until a connection under way has come about. */
static int wait_for_connection(int fd, struct patience *p, int64_t deadline) {
        struct pollfd connection = { .fd = fd, .events = POLLOUT };
        int r = patience_wait(p, &connection, 1, deadline), error = 0;
        socklen_t n = sizeof(error);

        if (r < 0)
                return r;
        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 ? -errno : -error;
}

/* connect(2) within the time there is. A local socket whose queue is full says EAGAIN, and has no
 * other way to wait. */
static int connect_until(int fd, const struct sockaddr *address, socklen_t n, struct patience *p,
                         int64_t deadline) {
        int r;

        while (connect(fd, address, n) < 0) {
                if (errno == EINPROGRESS)
                        return wait_for_connection(fd, p, deadline);
                if (errno != EAGAIN && errno != EINTR)
                        return -errno;
                if (deadline_left(deadline) == 0)
                        return -ETIMEDOUT;
                r = patience_wait(p, NULL, 0, deadline_now() + 20);
                if (r != -ETIMEDOUT)
                        return r;
        }
        return 0;
}

static int connect_address(const struct sockaddr *address, socklen_t n, uint64_t timeout,
                           struct patience *p) {
        int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1,
            r;

        if (fd < 0)
                return -errno;
        r = connect_until(fd, address, n, p, deadline_after(timeout));
        if (r < 0) {
                close(fd);
                return r;
        }
        if (address->sa_family != AF_UNIX) /* commands are written whole, and waited for */
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        return fd;
}

static int connect_local(const char *path, uint64_t timeout, struct patience *p) {
        struct sockaddr_un address;

        if (!endpoint_local(path, &address))
                return -ENAMETOOLONG;
        return connect_address((const struct sockaddr *) &address, sizeof(address), timeout, p);
}

static int connect_name(const struct endpoint *name, uint64_t timeout, struct patience *p,
                        const char **ret_why) {
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
        int r = getaddrinfo(name->host, name->port, &hints, &list), fd = -EHOSTUNREACH;

        if (r != 0) {
                *ret_why = gai_strerror(r);
                return -EHOSTUNREACH;
        }
        for (const struct addrinfo *a = list; a && fd < 0 && patience_check(p) == 0;
             a = a->ai_next) {
                fd = connect_address(a->ai_addr, a->ai_addrlen, timeout, p);
                *ret_why = fd < 0 ? strerror(-fd) : NULL;
        }
        freeaddrinfo(list);
        return fd;
}

static int connect_host(const struct endpoint *name, uint64_t timeout, struct patience *p,
                        const char **ret_why) {
        struct sockaddr_storage address;
        socklen_t n = endpoint_address(name, &address);
        int fd;

        if (n == 0)
                return connect_name(name, timeout, p, ret_why);
        fd = connect_address((const struct sockaddr *) &address, n, timeout, p);
        *ret_why = fd < 0 ? strerror(-fd) : NULL;
        return fd;
}

int connect_to(const char *endpoint, const char *port, uint64_t timeout, struct patience *p,
               const char **ret_why) {
        struct endpoint name;
        int fd;

        *ret_why = "malformed name";
        if (*endpoint != '/')
                return endpoint_split(endpoint, port, &name)
                               ? connect_host(&name, timeout, p, ret_why)
                               : -EINVAL;
        fd = connect_local(endpoint, timeout, p);
        *ret_why = fd < 0 ? strerror(-fd) : NULL;
        return fd;
}

const char *connect_resolve(const char *endpoint) {
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
        struct endpoint name;
        struct stat st;
        int r;

        if (*endpoint == '/')
                return stat(endpoint, &st) < 0 ? strerror(errno)
                       : S_ISSOCK(st.st_mode)  ? NULL
                                               : "not a socket";
        if (!endpoint_split(endpoint, "25", &name))
                return "malformed name";
        if ((r = getaddrinfo(name.host, name.port, &hints, &list)) != 0)
                return gai_strerror(r);
        freeaddrinfo(list);
        return NULL;
}
