/* SPDX-License-Identifier: MIT */
/* io/listen.h - listening sockets: opened by us, or inherited.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "io/socket_file.h"

enum { LISTEN_ADDRESS_MAX = 127, LISTEN_NAME_MAX = 63 };

struct listener {
        /* does not block, is closed on exec; -1 when it is closed */
        int fd;
        char address[LISTEN_ADDRESS_MAX + 1]; /* ADDRESS:PORT, [IPV6]:PORT or /SOCKET */
        char name[LISTEN_NAME_MAX + 1];       /* what systemd calls it; "" if it is ours */
        /* it is somebody else's too, who has others serve it */
        bool is_passed;
        bool is_tls;             /* TLS begins with the first octet */
        struct socket_file file; /* of /SOCKET, if we made it */
};

/* Whether `s` is HOST:PORT, [IPV6]:PORT, PORT (of loopback) or /SOCKET. */
bool listen_is_endpoint(const char *s);

/* Whether it is one of these, and accepts network connections from this host only. */
bool listen_is_loopback(const char *s);

/* Listens there. A name may have several addresses: those of protocols that are in use here have to
 * work. IPv6 sockets take IPv6 only. A local socket is for everybody who can reach its directory,
 * and takes the place of one that we have left behind. Returns how many of `ret` it has filled, at
 * most `room`; or a negative errno, and why as a constant text. */
int listen_at(const char *endpoint, struct listener *ret, size_t room, const char **ret_why);

/* Makes a listener of an inherited descriptor, which moves to another number. Returns false if it
 * is not a listening socket. */
bool listen_adopt(int fd, const char *name, struct listener *ret);

/* Closes it. */
void listen_close(struct listener *l);
