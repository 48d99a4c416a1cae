/* SPDX-License-Identifier: MIT */
/* fuzz/fuzz-proxy.c - the header of a balancer: whole and cut it reads the same, nothing behind it
 * is taken, and a client that is named is an address as peer_parse() reads it, the very one that
 * the octets have.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/peer.h"
#include "smtp/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* In pieces, each in memory of exactly its size. */
static enum proxy_status feed(struct proxy_header *h, const char *in, size_t n, size_t piece,
                              size_t *ret_used) {
        enum proxy_status status = PROXY_MORE;

        memset(h, 0, sizeof(*h));
        for (*ret_used = 0; status == PROXY_MORE && *ret_used < n;) {
                size_t part = n - *ret_used < piece ? n - *ret_used : piece, used = 0;
                char *copy = malloc(part);

                memcpy(copy, in + *ret_used, part);
                status = proxy_header_take(h, copy, part, &used);
                free(copy);
                assert(used > 0 && used <= part && (status != PROXY_MORE || used == part));
                *ret_used += used;
        }
        return status;
}

/* Read another way. NULL if no client is named. */
static const char *address_of_line(const char *in, size_t n) {
        static char line[200], from[100], to[100];
        unsigned port, port_here;
        char family;

        snprintf(line, sizeof(line), "%.*s", (int) n, in);
        if (strncmp(line, "PROXY UNKNOWN", 13) == 0)
                return NULL;
        assert(sscanf(line, "PROXY TCP%c %99s %99s %u %u", &family, from, to, &port, &port_here) ==
               5);
        assert((family == '6') == (strchr(from, ':') != NULL) && port <= UINT16_MAX &&
               port_here <= UINT16_MAX);
        return from;
}

static const char *address_of_octets(const unsigned char *in, size_t n) {
        static char text[INET6_ADDRSTRLEN];
        int family = in[13] >> 4 == 1 ? AF_INET : AF_INET6;

        assert(n == 16U + in[14] * 256U + in[15] && (in[12] == 0x20 || in[12] == 0x21));
        if (in[12] == 0x20 || (in[13] != 0x11 && in[13] != 0x21))
                return NULL;
        assert(n >= (family == AF_INET ? 28 : 52));
        return inet_ntop(family, in + 16, text, sizeof(text));
}

static void check_clean(const char *text, size_t room) {
        assert(strnlen(text, room) < room);
        for (; *text; text++)
                assert(*text >= ' ' && *text <= '~');
}

static void check(const struct proxy_header *h, const char *in, size_t n) {
        const char *want = *in == 'P' ? address_of_line(in, n)
                                      : address_of_octets((const unsigned char *) in, n);
        struct peer p, wanted;

        assert(n <= (*in == 'P' ? 107 : PROXY_HEADER_MAX));
        check_clean(h->tls.protocol, sizeof(h->tls.protocol));
        check_clean(h->tls.cipher, sizeof(h->tls.cipher));
        check_clean(h->tls.sni, sizeof(h->tls.sni));
        assert(!want == !*h->client && strlen(h->client) <= PEER_TEXT_MAX);
        if (!want)
                return;
        assert(peer_parse(h->client, &p) && peer_parse(want, &wanted) && !peer_is_in(&p, "local"));
        assert(strcmp(p.address, wanted.address) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static struct proxy_header whole, pieces;
        const char *in = (const char *) data + 1;
        size_t used, used_pieces;
        enum proxy_status status;

        if (n < 1)
                return 0;
        status = feed(&whole, in, n - 1, SIZE_MAX, &used);
        assert(feed(&pieces, in, n - 1, data[0] % 64U + 1, &used_pieces) == status &&
               used == used_pieces);
        if (status == PROXY_DONE) {
                assert(memcmp(&whole, &pieces, sizeof(whole)) == 0);
                check(&whole, in, used);
        }
        return 0;
}
