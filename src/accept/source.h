/* SPDX-License-Identifier: MIT */
/* accept/source.h - the source of a connection, as counted by max-connections-per-source. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

/* An IPv4 address, an IPv6 network of 64 bits, or a user of this host. */
struct source {
        unsigned char family, octets[8];
        bool is_balancer; /* a balancer, which is not limited */
};

/* An address from accept(2). */
union source_address {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
};

/* The source of a connection; for a local socket, its user (SO_PEERCRED). */
struct source source_of(int connection, const union source_address *address);

bool source_is_equal(const struct source *a, const struct source *b);
