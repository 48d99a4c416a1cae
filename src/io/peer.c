/* SPDX-License-Identifier: MIT */
/* io/peer.c - the peer of a connection. Names are never looked up. */
#include "io/peer.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/array.h"
#include "base/ascii.h"
#include "base/text.h"

void peer_local(struct peer *ret) {
        *ret = (struct peer) { .address = "local", .uid = -1, .pid = -1 };
}

void peer_unknown(struct peer *ret) {
        *ret = (struct peer) { .address = "unknown", .uid = -1, .pid = -1 };
}

bool peer_is_unknown(const struct peer *p) {
        return *p->address == 'u'; /* no address begins with it */
}

/* Addresses are kept in their canonical spelling. As inet_ntop(3) does it, but for that it brings
 * printf(3) along. */
static void set_v4(struct peer *p, const unsigned char octets[static 4]) {
        text_format(p->address, sizeof(p->address), "%u.%u.%u.%u", (unsigned) octets[0],
                    (unsigned) octets[1], (unsigned) octets[2], (unsigned) octets[3]);
}

static void set_v6(struct peer *p, const struct in6_addr *v6) {
        if (IN6_IS_ADDR_V4MAPPED(v6))
                set_v4(p, v6->s6_addr + 12);
        else
                inet_ntop(AF_INET6, v6, p->address, sizeof(p->address));
}

static bool set_address(struct peer *p, const char *s) {
        struct in6_addr v6;

        if (inet_pton(AF_INET, s, &v6) == 1)
                set_v4(p, v6.s6_addr);
        else if (inet_pton(AF_INET6, s, &v6) == 1)
                set_v6(p, &v6);
        else
                return false;
        return true;
}

static void put_port(struct peer *p, unsigned port) {
        text_format(p->port, sizeof(p->port), "%u", port);
}

static bool set_port(struct peer *p, const char *s) {
        uint64_t port;

        if (!ascii_parse_number(s, 65535, &port) || port == 0)
                return false;
        put_port(p, (unsigned) port);
        return true;
}

static void set_credentials(int fd, struct peer *p) {
        struct ucred cred;
        socklen_t n = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0 && cred.pid > 0) {
                p->uid = (long) cred.uid;
                p->pid = (long) cred.pid;
        }
}

void peer_of_address(const struct sockaddr *address, struct peer *ret) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *) address;

        peer_local(ret);
        if (address->sa_family == AF_UNIX)
                return;
        if (address->sa_family == AF_INET)
                set_v4(ret, (const unsigned char *) &v4->sin_addr);
        else if (address->sa_family == AF_INET6)
                set_v6(ret, &((const struct sockaddr_in6 *) address)->sin6_addr);
        else { /* some other kind of network: nobody we know */
                peer_unknown(ret);
                return;
        }
        put_port(ret, ntohs(v4->sin_port)); /* the same place in both */
}

bool peer_of_socket(int fd, struct peer *ret) {
        union {
                struct sockaddr any;
                struct sockaddr_in6 v6;
                struct sockaddr_un local;
        } name = { 0 }; /* an address of no length at all is of no known family */
        socklen_t n = sizeof(name);

        peer_local(ret);
        if (getpeername(fd, &name.any, &n) < 0)
                return false;
        peer_of_address(&name.any, ret);
        if (name.any.sa_family == AF_UNIX)
                set_credentials(fd, ret);
        return true;
}

/* --- what the environment says ---------------------------------------------------------------- */

/* Who sets them: systemd; xinetd and stunnel; tcpserver and its relatives; socat; ncat. */
static const struct variables {
        const char *address, *port;
} variables[] = {
        { "REMOTE_ADDR", "REMOTE_PORT" },       { "REMOTE_HOST", "REMOTE_PORT" },
        { "TCPREMOTEIP", "TCPREMOTEPORT" },     { "TCP6REMOTEIP", "TCP6REMOTEPORT" },
        { "SOCAT_PEERADDR", "SOCAT_PEERPORT" }, { "NCAT_REMOTE_ADDR", "NCAT_REMOTE_PORT" },
};

/* An address as one of them writes it: [IPV6] is socat's, and an IPv6 address may have a zone,
 * which is a matter of this host: "fe80::1%eth0". */
static bool set_written(struct peer *p, const char *s) {
        char text[2 * INET6_ADDRSTRLEN];
        bool is_bracketed = *s == '[';
        size_t n = strlen(s);
        char *zone;

        if (n < 2 || n >= sizeof(text) || is_bracketed != (s[n - 1] == ']'))
                return false;
        text_format(text, sizeof(text), "%.*s", (int) n - 2 * is_bracketed, s + is_bracketed);
        zone = strchr(text, '%');
        if (zone && zone[1])
                *zone = '\0';
        return set_address(p, text) && (strchr(text, ':') || !(zone || is_bracketed));
}

/* The peer of one row; false if it names none. */
static bool read_variables(const struct variables *v, struct peer *ret) {
        const char *address = getenv(v->address), *port = getenv(v->port);

        if (!address)
                return false;
        peer_local(ret);
        if (!set_written(ret, address))
                peer_unknown(ret);
        else if (port)
                set_port(ret, port);
        return true;
}

/* What two that name one say together. */
static void agree(struct peer *p, const struct peer *other) {
        if (strcmp(p->address, other->address) != 0)
                peer_unknown(p);
        else if (!*p->port)
                *p = *other;
}

bool peer_of_environment(struct peer *ret) {
        struct peer other;
        bool is_named = false;

        for (size_t i = 0; i < ELEMENTS(variables); i++) {
                if (!read_variables(variables + i, &other))
                        continue;
                if (is_named)
                        agree(ret, &other);
                else
                        *ret = other;
                is_named = true;
        }
        return is_named;
}

void peer_clear_environment(void) {
        for (size_t i = 0; i < ELEMENTS(variables); i++) {
                unsetenv(variables[i].address);
                unsetenv(variables[i].port);
        }
}

static bool is_loopback(const struct peer *p) {
        return peer_is_in(p, "127.0.0.0/8") || peer_is_in(p, "::1");
}

bool peer_is_here(const struct peer *p) {
        return peer_is_in(p, "local") || is_loopback(p);
}

/* --- what an option says ---------------------------------------------------------------------- */

void peer_format(const struct peer *p, char ret[static PEER_TEXT_MAX + 1]) {
        bool is_bracketed = *p->port && strchr(p->address, ':');

        text_format(ret, PEER_TEXT_MAX + 1, is_bracketed ? "[%s]%s%s" : "%s%s%s", p->address,
                    *p->port ? ":" : "", p->port);
}

bool peer_parse(const char *s, struct peer *ret) {
        char address[INET6_ADDRSTRLEN + 2];
        const char *colon = strrchr(s, ':'), *bracket = strchr(s, ']');
        bool has_port = *s == '[' ? bracket && bracket[1] == ':' : colon && strchr(s, ':') == colon;
        size_t n = has_port ? (size_t) (colon - s) : strlen(s);

        peer_local(ret);
        if (strcmp(s, "local") == 0)
                return true;
        if (n >= sizeof(address) || n == 0)
                return false;
        memcpy(address, s, n);
        address[n] = '\0';
        if (*address == '[') {
                if (address[n - 1] != ']')
                        return false;
                address[n - 1] = '\0';
        }
        return set_address(ret, address + (*address == '[')) &&
               (!has_port || set_port(ret, colon + 1));
}

/* --- what a balancer says --------------------------------------------------------------------- */

void peer_set_via(struct peer *p) {
        struct peer balancer = *p;

        peer_unknown(p);
        strcpy(p->via, balancer.address);
}

/* Loopback is the balancer's own, and that of another host is not ours, whom so many trust. */
bool peer_set_client(struct peer *p, const char *client) {
        struct peer balancer = { 0 }, named;

        strcpy(balancer.address, p->via);
        peer_unknown(&named);
        if (*client && (!peer_parse(client, &named) || peer_is_in(&named, "local")))
                return false;
        if (is_loopback(&named) && !peer_is_here(&balancer))
                peer_unknown(&named);
        *p = named;
        strcpy(p->via, balancer.address);
        return true;
}

bool peer_is_of_balancer(const struct peer *p) {
        return *p->via && (peer_is_unknown(p) || strcmp(p->address, p->via) == 0);
}

/* --- networks --------------------------------------------------------------------------------- */

/* An address as octets: 4 or 16 of them. */
struct octets {
        _Alignas(4) unsigned char at[16];
        unsigned n;
};

static bool parse_address(const char *s, struct octets *ret) {
        ret->n = inet_pton(AF_INET, s, ret->at) == 1    ? 4
                 : inet_pton(AF_INET6, s, ret->at) == 1 ? 16
                                                        : 0;
        return ret->n > 0;
}

/* An IPv4-mapped network is the IPv4 network. */
static void unmap(struct octets *o, unsigned *bits) {
        if (o->n != 16 || *bits < 96 || !IN6_IS_ADDR_V4MAPPED((const struct in6_addr *) o->at))
                return;
        memmove(o->at, o->at + 12, 4);
        o->n = 4;
        *bits -= 96;
}

static bool parse_network(const char *s, struct octets *ret, unsigned *ret_bits) {
        char address[INET6_ADDRSTRLEN];
        size_t n = (size_t) (strchrnul(s, '/') - s);
        uint64_t bits;

        if (n >= sizeof(address))
                return false;
        memcpy(address, s, n);
        address[n] = '\0';
        if (!parse_address(address, ret))
                return false;
        bits = 8 * (uint64_t) ret->n;
        if (s[n] == '/' && !ascii_parse_number(s + n + 1, bits, &bits))
                return false;
        *ret_bits = (unsigned) bits;
        unmap(ret, ret_bits);
        return true;
}

bool peer_is_network(const char *network) {
        struct octets octets;
        unsigned bits;

        return strcmp(network, "local") == 0 || parse_network(network, &octets, &bits);
}

/* Whether their first bits are the same. */
static bool is_alike(const struct octets *a, const struct octets *b, unsigned bits) {
        for (unsigned i = 0; i < bits; i++)
                if ((a->at[i / 8] ^ b->at[i / 8]) & 0x80 >> i % 8)
                        return false;
        return true;
}

bool peer_is_in(const struct peer *p, const char *network) {
        struct octets address, of;
        unsigned bits;

        if (strcmp(network, "local") == 0)
                return strcmp(p->address, "local") == 0;
        return parse_address(p->address, &address) && parse_network(network, &of, &bits) &&
               address.n == of.n && is_alike(&address, &of, bits);
}

/* IPv6 networks in which every host of IPv4 has an address: NAT64 and 6to4. (Mapped addresses are
 * IPv4 already.) */
static const struct {
        const char *network;
        unsigned bits;
} translated[] = { { "64:ff9b::", 96 }, { "2002::", 16 } };

/* Whether an IPv6 network has more of them than an own network of IPv4 has. */
static bool has_much_of_v4(const struct octets *o, unsigned bits, unsigned own_bits) {
        struct octets of;

        for (size_t i = 0; i < ELEMENTS(translated); i++)
                if (parse_address(translated[i].network, &of) &&
                    is_alike(o, &of, bits < translated[i].bits ? bits : translated[i].bits) &&
                    bits < translated[i].bits + own_bits)
                        return true;
        return false;
}

bool peer_is_wide(const char *network) {
        enum { OWN_BITS_V4 = 8, OWN_BITS_V6 = 16 };
        struct octets octets;
        unsigned bits;

        if (strcmp(network, "local") == 0 || !parse_network(network, &octets, &bits))
                return false;
        if (octets.n == 4)
                return bits < OWN_BITS_V4;
        return bits < OWN_BITS_V6 || has_much_of_v4(&octets, bits, OWN_BITS_V4);
}
