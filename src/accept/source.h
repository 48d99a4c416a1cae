/* SPDX-License-Identifier: MIT */
/* accept/source.h - where a connection comes from, as max-connections-per-source counts it. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

/* An IPv4 address, an IPv6 network of 64 bits, or a user of this host. */
struct source {
        unsigned char family, octets[8];
        bool is_balancer; /* of many clients, whom nobody counts here */
};

/* What accept(2) writes. */
union source_address {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
};

/* The source of a connection. Its user is asked for if the connection is a local socket. */
struct source source_of(int connection, const union source_address *address);

bool source_is_equal(const struct source *a, const struct source *b);
