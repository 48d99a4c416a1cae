/* SPDX-License-Identifier: MIT */
/* io/peer.h - the peer of a connection. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

struct peer {
        char address[INET6_ADDRSTRLEN]; /* without brackets and zone, IPv4-mapped IPv6 as IPv4;
                                         * "local" if there is none, "unknown" if it cannot be told
                                         */
        char port[6];                   /* "" if there is none */
        long uid, pid;                  /* of a local socket's peer (SO_PEERCRED), else -1 */
        char via[INET6_ADDRSTRLEN];     /* the balancer that named it; "": there is none */
};

enum { PEER_TEXT_MAX = INET6_ADDRSTRLEN + 8 };

/* The peer with this address, as accept(2) returns it. */
void peer_of_address(const struct sockaddr *address, struct peer *ret);

/* The peer of a connected socket. Returns false if fd is not one, or not connected any more. */
bool peer_of_socket(int fd, struct peer *ret);

/* The peer named in the environment by systemd, xinetd(8), stunnel(8), tcpserver(1), socat(1) or
 * ncat(1). It is "unknown" if one of their variables is not an address, or two are different
 * addresses. Returns false if none is set. */
bool peer_of_environment(struct peer *ret);

/* Removes these variables. */
void peer_clear_environment(void);

/* Whether it may be a program on this host that passes on what the real client says: it is local,
 * or has a loopback address. */
bool peer_is_here(const struct peer *p);

/* A peer that is named in a form that we cannot parse. It is in no network. */
void peer_unknown(struct peer *ret);
bool peer_is_unknown(const struct peer *p);

/* Makes the peer the balancer (`via`) of a client that is not known yet. */
void peer_set_via(struct peer *p);

/* Sets the balancer's client, in the form of peer_parse(), or "" if it names none. Returns false if
 * it is not an address. */
bool peer_set_client(struct peer *p, const char *client);

/* Whether it is a balancer's own connection (a health check), or one for which it names no client.
 */
bool peer_is_of_balancer(const struct peer *p);

/* Reads "ADDRESS[:PORT]", with brackets around an IPv6 address that has a port, or "local". */
bool peer_parse(const char *s, struct peer *ret);

/* Formats the peer for peer_parse(). */
void peer_format(const struct peer *p, char ret[static PEER_TEXT_MAX + 1]);

/* A peer without an address: "local". */
void peer_local(struct peer *ret);

/* Whether `network` is ADDRESS or ADDRESS/BITS, or "local". */
bool peer_is_network(const char *network);

/* Whether the peer is in this network; "local" matches those without an address. */
bool peer_is_in(const struct peer *p, const char *network);

/* Whether a network is too large to be one's own: larger than /8, or /16 for IPv6, or an IPv6
 * network that contains such an IPv4 one. */
bool peer_is_wide(const char *network);
