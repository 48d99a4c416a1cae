/* SPDX-License-Identifier: MIT */
/* io/peer.h - who is at the other end. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

struct peer {
        char address[INET6_ADDRSTRLEN]; /* without brackets and zone, IPv4-mapped IPv6 as IPv4;
                                         * "local" if there is none, "unknown" if it cannot be told
                                         */
        char port[6];                   /* "" where there is none */
        long uid, pid;                  /* of a local socket's peer (SO_PEERCRED), else -1 */
        char via[INET6_ADDRSTRLEN];     /* the balancer that says who it is; "": there is none */
};

enum { PEER_TEXT_MAX = INET6_ADDRSTRLEN + 8 };

/* The peer that has this address, as accept(2) writes it. */
void peer_of_address(const struct sockaddr *address, struct peer *ret);

/* The peer of a connected socket; false if fd is none, or not connected any more. */
bool peer_of_socket(int fd, struct peer *ret);

/* The peer that whoever started us names in the environment: systemd, xinetd(8), stunnel(8),
 * tcpserver(1), socat(1) and ncat(1) have variables for it. It is "unknown" if one of them is no
 * address, or two are different ones. false if none is set. */
bool peer_of_environment(struct peer *ret);

/* Removes these variables. */
void peer_clear_environment(void);

/* Whether it can be somebody on this host who only passes on what the peer says: it is local, or
 * has a loopback address. */
bool peer_is_here(const struct peer *p);

/* The peer is one of which only this is known: somebody says who it is, and we cannot read it. It
 * is in no network. */
void peer_unknown(struct peer *ret);
bool peer_is_unknown(const struct peer *p);

/* The peer is a balancer: its client is, of whom nothing is known as long as it does not say it. */
void peer_set_via(struct peer *p);

/* It says it, as peer_parse() reads it; or "": it names nobody. false if that is no address. */
bool peer_set_client(struct peer *p, const char *client);

/* Whether it is a balancer's own connection (a health check), or one for which it names nobody. */
bool peer_is_of_balancer(const struct peer *p);

/* Reads "ADDRESS[:PORT]", where an IPv6 address with a port stands in brackets, or "local". */
bool peer_parse(const char *s, struct peer *ret);

/* Writes what peer_parse() reads. */
void peer_format(const struct peer *p, char ret[static PEER_TEXT_MAX + 1]);

/* The peer of which nothing is known. */
void peer_local(struct peer *ret);

/* Whether `network` is ADDRESS or ADDRESS/BITS, or "local". */
bool peer_is_network(const char *network);

/* Whether the peer belongs to it; "local" are those without an address. */
bool peer_is_in(const struct peer *p, const char *network);

/* Whether it is hardly one's own: larger than /8 in IPv4 or /16 in IPv6, also if an IPv6 network
 * stands for the IPv4 one. */
bool peer_is_wide(const char *network);
