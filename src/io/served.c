/* SPDX-License-Identifier: MIT */
/* io/served.c - the address at which the client reached us. */
#include "io/served.h"

#include <stddef.h>
#include <string.h>

/* IPv4 as IPv6 sees it: a listener for both shows it so. */
static void map(struct served *s) {
        in_addr_t host = s->address.v4.sin_addr.s_addr;
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = s->address.v4.sin_port };

        if (s->address.any.sa_family != AF_INET)
                return;
        v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
        memcpy(v6.sin6_addr.s6_addr + 12, &host, sizeof(host));
        s->address.v6 = v6;
        s->n = sizeof(v6);
}

/* Linux 5.14. */
static uint64_t network_of(int fd) {
        uint64_t cookie = 0;
#ifdef SO_NETNS_COOKIE
        socklen_t n = sizeof(cookie);

        if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &n) < 0)
                cookie = 0;
#else
        (void) fd;
#endif
        return cookie;
}

static void complete(struct served *s, int fd, bool is_known) {
        if (!is_known)
                s->n = 0;
        map(s);
        s->network = network_of(fd);
}

void served_read(struct served *s, int fd) {
        *s = (struct served) { .n = sizeof(s->address) };
        complete(s, fd, getsockname(fd, &s->address.any, &s->n) == 0);
}

bool served_is_reached(const struct served *s, int fd) {
        struct served there = { .n = sizeof(there.address) };
        const struct sockaddr_in6 *a = &s->address.v6, *b = &there.address.v6;

        complete(&there, fd, getpeername(fd, &there.address.any, &there.n) == 0);
        if (s->n == 0 || s->n != there.n || s->network != there.network ||
            s->address.any.sa_family != there.address.any.sa_family)
                return false;
        if (s->address.any.sa_family == AF_UNIX) /* one without a name is any socket's */
                return s->n > offsetof(struct sockaddr, sa_data) &&
                       memcmp(&s->address, &there.address, s->n) == 0;
        return a->sin6_family == AF_INET6 && a->sin6_port == b->sin6_port &&
               memcmp(&a->sin6_addr, &b->sin6_addr, sizeof(a->sin6_addr)) == 0;
}
