/* SPDX-License-Identifier: MIT */
/* io/served.h - the address that a client has reached us at, and whether a connection of ours leads
 * to the same place: then it leads to us, and mail would go in circles.
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

/* Whether the connection, which we have made, is to that address. */
bool served_is_reached(const struct served *s, int fd);
