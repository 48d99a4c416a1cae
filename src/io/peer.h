/* io/peer.h - who is at the other end. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

struct peer {
        char address[INET6_ADDRSTRLEN]; /* without brackets, IPv4-mapped IPv6 as IPv4; "local" where there is none,
                                         * "unknown" of other kinds of networks */
        char port[6];                   /* "" where there is none */
        long uid, pid;                  /* of a local socket's peer (SO_PEERCRED), else -1 */
};

/* The peer of a connected socket; false if fd is none, or not connected any more. */
bool peer_of_socket(int fd, struct peer *ret);

/* The peer that whoever started us names in the environment: $REMOTE_ADDR and $REMOTE_PORT (systemd), or $TCPREMOTEIP
 * and $TCPREMOTEPORT (ucspi-tcp(1)). false if it names none, or something that is no address. */
bool peer_of_environment(struct peer *ret);

/* Reads "ADDRESS[:PORT]", where an IPv6 address with a port stands in brackets, or "local". */
bool peer_parse(const char *s, struct peer *ret);

/* The peer of which nothing is known. */
void peer_local(struct peer *ret);

/* Whether `network` is ADDRESS or ADDRESS/BITS, or "local". */
bool peer_is_network(const char *network);

/* Whether the peer belongs to it; "local" are those without an address. */
bool peer_is_in(const struct peer *p, const char *network);
