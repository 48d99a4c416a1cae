/* io/peer.c - who is at the other end. No look-ups: names are not asked for. */
#include "io/peer.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/ascii.h"
#include "base/text.h"

void peer_local(struct peer *ret) {
        *ret = (struct peer) { .address = "local", .uid = -1, .pid = -1 };
}

/* Addresses are kept in their canonical spelling. As inet_ntop(3) does it, but for that it brings printf(3) along. */
static void set_v4(struct peer *p, const unsigned char octets[static 4]) {
        text_format(p->address, sizeof(p->address), "%u.%u.%u.%u", (unsigned) octets[0], (unsigned) octets[1],
                    (unsigned) octets[2], (unsigned) octets[3]);
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

static bool set_credentials(int fd, struct peer *p) {
        struct ucred cred;
        socklen_t n = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0 && cred.pid > 0) {
                p->uid = (long) cred.uid;
                p->pid = (long) cred.pid;
        }
        return true;
}

bool peer_of_socket(int fd, struct peer *ret) {
        union {
                struct sockaddr any;
                struct sockaddr_in v4;
                struct sockaddr_in6 v6;
                struct sockaddr_un local;
        } name = { 0 }; /* an address of no length at all is of no known family */
        socklen_t n = sizeof(name);

        peer_local(ret);
        if (getpeername(fd, &name.any, &n) < 0)
                return false;
        if (name.any.sa_family == AF_UNIX)
                return set_credentials(fd, ret);
        if (name.any.sa_family == AF_INET)
                set_v4(ret, (const unsigned char *) &name.v4.sin_addr);
        else if (name.any.sa_family == AF_INET6)
                set_v6(ret, &name.v6.sin6_addr);
        else { /* some other kind of network: nobody we know */
                strcpy(ret->address, "unknown");
                return true;
        }
        put_port(ret, ntohs(name.v4.sin_port)); /* the same place in both */
        return true;
}

bool peer_of_environment(struct peer *ret) {
        static const char *const names[][2] = { { "REMOTE_ADDR", "REMOTE_PORT" }, { "TCPREMOTEIP", "TCPREMOTEPORT" } };

        peer_local(ret);
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                const char *address = getenv(names[i][0]), *port = getenv(names[i][1]);

                if (address && set_address(ret, address)) {
                        if (port)
                                set_port(ret, port);
                        return true;
                }
        }
        return false;
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
        return set_address(ret, address + (*address == '[')) && (!has_port || set_port(ret, colon + 1));
}

/* An address as octets: 4 or 16 of them. */
struct octets {
        _Alignas(4) unsigned char at[16];
        unsigned n;
};

static bool parse_address(const char *s, struct octets *ret) {
        ret->n = inet_pton(AF_INET, s, ret->at) == 1 ? 4 : inet_pton(AF_INET6, s, ret->at) == 1 ? 16 : 0;
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

bool peer_is_in(const struct peer *p, const char *network) {
        struct octets address, of;
        unsigned bits;

        if (strcmp(network, "local") == 0)
                return strcmp(p->address, "local") == 0;
        if (!parse_address(p->address, &address) || !parse_network(network, &of, &bits) || address.n != of.n)
                return false;
        for (unsigned i = 0; i < bits; i++)
                if ((address.at[i / 8] ^ of.at[i / 8]) & 0x80 >> i % 8)
                        return false;
        return true;
}
