/* SPDX-License-Identifier: MIT */
/* io/served.h - the address at which the client reached us, to detect a connection of ours that
 * leads back to this server: a mail loop.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct served {
        union {
                struct sockaddr any;
                struct sockaddr_in v4;
                struct sockaddr_in6 v6;
                struct sockaddr_storage room;
        } address;
        socklen_t n; /* 0: the client is not at the other end of a socket with an address */
        /* 127.0.0.1 of one network namespace is not that of another; 0: not known */
        uint64_t network;
};

/* Of the client's connection. */
void served_read(struct served *s, int fd);

/* Whether a connection that we have made leads to that address. */
bool served_is_reached(const struct served *s, int fd);
