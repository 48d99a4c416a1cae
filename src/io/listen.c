/* SPDX-License-Identifier: MIT */
/* io/listen.c - listening sockets: opened by us, or inherited. */
#include "io/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "io/endpoint.h"

static bool is_port(const char *s) {
        struct endpoint e;

        return endpoint_split("localhost", s, &e);
}

bool listen_is_endpoint(const char *s) {
        struct sockaddr_un local;
        struct endpoint name;

        return *s == '/' ? endpoint_local(s, &local) : is_port(s) || endpoint_split(s, NULL, &name);
}

bool listen_is_loopback(const char *s) {
        struct sockaddr_storage address;
        struct endpoint e;

        if (*s == '/' || is_port(s))
                return *s != '/';
        if (!endpoint_split(s, NULL, &e))
                return false;
        if (endpoint_address(&e, &address) == 0)
                return strcmp(e.host, "localhost") == 0;
        if (address.ss_family == AF_INET) {
                const struct sockaddr_in *v4 = (const struct sockaddr_in *) &address;

                return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
        }
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *) &address)->sin6_addr);
}

static const char *reason(int error) {
        if (error == -EEXIST)
                return "another user has a file of this name with .lock appended; remove that";
        if (error == -EADDRNOTAVAIL)
                return "not an address of this host; `ip address` lists those, 0.0.0.0 and [::] "
                       "are all of "
                       "them";
        return strerror(-error);
}

/* Says where a socket listens. */
static void describe(int fd, char ret[static LISTEN_ADDRESS_MAX + 1]) {
        union {
                struct sockaddr any;
                struct sockaddr_in v4;
                struct sockaddr_in6 v6;
                struct sockaddr_un local;
        } name = { 0 };
        socklen_t n = sizeof(name);
        char text[INET6_ADDRSTRLEN] = "";

        getsockname(fd, &name.any, &n);
        if (name.any.sa_family == AF_UNIX) {
                const char *path = name.local.sun_path;

                text_format(ret, LISTEN_ADDRESS_MAX + 1, "%s%.*s", *path ? "" : "@",
                            (int) sizeof(name.local.sun_path) - 1, path + !*path);
                return;
        }
        if (name.any.sa_family == AF_INET)
                inet_ntop(AF_INET, &name.v4.sin_addr, text, sizeof(text));
        else if (name.any.sa_family == AF_INET6)
                inet_ntop(AF_INET6, &name.v6.sin6_addr, text, sizeof(text));
        text_format(ret, LISTEN_ADDRESS_MAX + 1,
                    name.any.sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u", text,
                    ntohs(name.v4.sin_port)); /* the same place in both */
}

static int listen_address(const struct sockaddr *address, socklen_t n, struct listener *ret) {
        int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1,
            error;

        if (fd < 0)
                return -errno;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (address->sa_family == AF_INET6)
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
        if (bind(fd, address, n) < 0 || listen(fd, SOMAXCONN) < 0) {
                error = errno;
                close(fd);
                return -error;
        }
        *ret = (struct listener) { .fd = fd, .file.lock = -1 };
        describe(fd, ret->address);
        return 0;
}

static int bind_file(const char *path, struct socket_file *file, struct listener *ret) {
        struct sockaddr_un address;
        int r;

        endpoint_local(path, &address);
        r = listen_address((const struct sockaddr *) &address, sizeof(address), ret);
        if (r == 0 && (r = socket_file_note(path, file)) < 0)
                close(ret->fd);
        return r;
}

static int listen_local(const char *path, struct listener *ret) {
        struct socket_file file;
        int r = socket_file_take(path, &file);

        if (r == 0 && (r = bind_file(path, &file, ret)) < 0)
                socket_file_remove(path, &file);
        if (r == 0)
                ret->file = file;
        return r;
}

/* A protocol that is not in use here. */
static bool is_absent(int error) {
        return error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT;
}

/* Of both protocols; a port that is any free one is the same for both. */
static int listen_loopback(const char *port, struct listener *ret, size_t room) {
        static const char *const hosts[] = { "127.0.0.1", "::1" };
        int n = 0, r = 0;

        for (size_t i = 0; i < 2 && (size_t) n < room && (r == 0 || is_absent(r)); i++) {
                struct sockaddr_storage address;
                struct endpoint e;
                socklen_t length;

                strcpy(e.host, hosts[i]);
                strcpy(e.port, n > 0 ? strrchr(ret->address, ':') + 1 : port);
                length = endpoint_address(&e, &address);
                if ((r = listen_address((const struct sockaddr *) &address, length, ret + n)) == 0)
                        n++;
        }
        while (r < 0 && !is_absent(r) && n > 0)
                listen_close(ret + --n);
        return n > 0 ? n : r;
}

static int listen_name(const struct endpoint *e, struct listener *ret, size_t room,
                       const char **ret_why) {
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list;
        int r = getaddrinfo(e->host, e->port, &hints, &list), error = -EADDRNOTAVAIL, n = 0;
        bool is_over = false;

        if (r != 0) {
                *ret_why = gai_strerror(r);
                return -EADDRNOTAVAIL;
        }
        for (const struct addrinfo *a = list; a && !is_over && (size_t) n < room; a = a->ai_next)
                if ((r = listen_address(a->ai_addr, a->ai_addrlen, ret + n)) == 0)
                        n++;
                else {
                        error = r;
                        is_over = !is_absent(r);
                }
        freeaddrinfo(list);
        *ret_why = reason(error);
        while (is_over && n > 0)
                listen_close(ret + --n);
        return n > 0 ? n : error;
}

int listen_at(const char *endpoint, struct listener *ret, size_t room, const char **ret_why) {
        struct sockaddr_storage address;
        struct endpoint e;
        socklen_t n;
        int r;

        *ret_why = room == 0 ? "too many addresses" : "malformed name";
        if (room == 0 || !listen_is_endpoint(endpoint))
                return -EINVAL;
        if (endpoint_split("localhost", endpoint, &e)) {
                r = listen_loopback(e.port, ret, room);
                *ret_why = reason(r);
                return r;
        }
        if (*endpoint == '/')
                r = listen_local(endpoint, ret);
        else if (endpoint_split(endpoint, NULL, &e) && (n = endpoint_address(&e, &address)) > 0)
                r = listen_address((const struct sockaddr *) &address, n, ret);
        else
                return listen_name(&e, ret, room, ret_why);
        *ret_why = reason(r);
        return r < 0 ? r : 1;
}

bool listen_adopt(int fd, const char *name, struct listener *ret) {
        int is_listening = 0, moved;
        socklen_t n = sizeof(is_listening);

        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &n) < 0 || !is_listening)
                return false;
        moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1); /* it may be standard input */
        close(fd);
        if (moved < 0)
                return false;
        *ret = (struct listener) { .fd = moved, .is_passed = true, .file.lock = -1 };
        fcntl(ret->fd, F_SETFL, fcntl(ret->fd, F_GETFL) | O_NONBLOCK);
        describe(ret->fd, ret->address);
        text_format(ret->name, sizeof(ret->name), "%s", name);
        return true;
}

void listen_close(struct listener *l) {
        if (l->fd >= 0)
                close(l->fd);
        socket_file_remove(l->address, &l->file);
        l->fd = -1;
}
