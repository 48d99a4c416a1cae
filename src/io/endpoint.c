/* SPDX-License-Identifier: MIT */
/* io/endpoint.c - names of endpoints to connect to or to listen on. */
#include "io/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/ascii.h"
#include "base/text.h"

static bool copy(char *to, size_t room, const char *from, size_t n) {
        if (n == 0 || n >= room)
                return false;
        memcpy(to, from, n);
        to[n] = '\0';
        return true;
}

/* As digits, since getaddrinfo(3) takes numbers modulo 65536. The names are those that people
 * write, and need no look-up. */
static bool read_port(const char *s, char ret[static ENDPOINT_PORT_MAX + 1]) {
        uint64_t port;

        if (strcmp(s, "smtp") == 0)
                s = "25";
        else if (strcmp(s, "submission") == 0)
                s = "587";
        if (!ascii_parse_number(s, ENDPOINT_PORT_LARGEST, &port))
                return false;
        text_format(ret, ENDPOINT_PORT_MAX + 1, "%u", (unsigned) port);
        return true;
}

bool endpoint_split(const char *s, const char *port, struct endpoint *ret) {
        bool is_bracketed = *s == '[';
        size_t n_host = strcspn(s + is_bracketed, is_bracketed ? "]" : ":");
        const char *rest = s + is_bracketed + n_host;

        if (is_bracketed && *rest++ != ']')
                return false;
        if (*rest == ':')
                port = rest + 1;
        else if (*rest)
                return false;
        return port && copy(ret->host, sizeof(ret->host), s + is_bracketed, n_host) &&
               read_port(port, ret->port) && !strpbrk(ret->host, "/ \"'");
}

socklen_t endpoint_address(const struct endpoint *e, struct sockaddr_storage *ret) {
        struct sockaddr_in *v4 = (struct sockaddr_in *) ret;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *) ret;
        uint64_t port;

        memset(ret, 0, sizeof(*ret));
        if (!ascii_parse_number(e->port, ENDPOINT_PORT_LARGEST, &port))
                return 0;
        if (inet_pton(AF_INET, e->host, &v4->sin_addr) == 1) {
                v4->sin_family = AF_INET;
                v4->sin_port = htons((uint16_t) port);
                return sizeof(*v4);
        }
        if (inet_pton(AF_INET6, e->host, &v6->sin6_addr) != 1)
                return 0;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t) port);
        return sizeof(*v6);
}

bool endpoint_is_here(const char *s) {
        struct endpoint e;
        struct in_addr v4;
        struct in6_addr v6;

        if (*s == '/')
                return true;
        if (!endpoint_split(s, "0", &e))
                return false;
        if (inet_pton(AF_INET, e.host, &v4) == 1)
                return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
        if (inet_pton(AF_INET6, e.host, &v6) == 1)
                return IN6_IS_ADDR_LOOPBACK(&v6);
        return strcmp(e.host, "localhost") == 0;
}

bool endpoint_local(const char *path, struct sockaddr_un *ret) {
        *ret = (struct sockaddr_un) { .sun_family = AF_UNIX };
        return copy(ret->sun_path, sizeof(ret->sun_path), path, strlen(path));
}
