/* SPDX-License-Identifier: MIT */
/* io/endpoint.h - names of endpoints to connect to or to listen on: HOST:PORT, [IPV6]:PORT or
 * /SOCKET.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { ENDPOINT_HOST_MAX = 255, ENDPOINT_PORT_LARGEST = 65535, ENDPOINT_PORT_MAX = 5 };

struct endpoint {
        char host[ENDPOINT_HOST_MAX + 1], port[ENDPOINT_PORT_MAX + 1]; /* the port in digits */
};

/* Splits HOST[:PORT]; `port` is the default port, or NULL if the port is required. PORT is a number
 * from 0 to 65535, smtp or submission. */
bool endpoint_split(const char *s, const char *port, struct endpoint *ret);

/* Makes the socket address if host and port are numeric. Returns its size, or 0. (getaddrinfo(3)
 * would cost time and memory.) */
socklen_t endpoint_address(const struct endpoint *e, struct sockaddr_storage *ret);

/* Whether the endpoint is on this host by its name: a local socket, or loopback. */
bool endpoint_is_here(const char *s);

/* The address of /SOCKET; false if it is too long. */
bool endpoint_local(const char *path, struct sockaddr_un *ret);
