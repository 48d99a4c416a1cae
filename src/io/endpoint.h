/* SPDX-License-Identifier: MIT */
/* io/endpoint.h - names of places to connect to or to listen at: HOST:PORT, [IPV6]:PORT or /SOCKET.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { ENDPOINT_HOST_MAX = 255, ENDPOINT_PORT_LARGEST = 65535, ENDPOINT_PORT_MAX = 5 };

struct endpoint {
        char host[ENDPOINT_HOST_MAX + 1], port[ENDPOINT_PORT_MAX + 1]; /* the port in digits */
};

/* Splits HOST[:PORT]; `port` is for those that name none, or NULL if they have to. PORT is a number
 * from 0 to 65535, smtp or submission. */
bool endpoint_split(const char *s, const char *port, struct endpoint *ret);

/* The socket's address if host and port are numbers: its size, or 0. getaddrinfo(3) would do it
 * too, and brings its machinery along. */
socklen_t endpoint_address(const struct endpoint *e, struct sockaddr_storage *ret);

/* Whether it is on this host, as far as its name says: a local socket, or loopback. */
bool endpoint_is_here(const char *s);

/* The address of /SOCKET; false if it is too long. */
bool endpoint_local(const char *path, struct sockaddr_un *ret);
