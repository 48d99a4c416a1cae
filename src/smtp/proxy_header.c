/* SPDX-License-Identifier: MIT */
/* smtp/proxy_header.c - the header of the PROXY protocol. The sections named are those of HAProxy's
 * proxy-protocol.txt.
 */
#include "smtp/proxy_header.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/ascii.h"
#include "base/text.h"

enum { LINE_MAX_V1 = 107, FIXED_V2 = 16 };

static const char begin_v1[] = "PROXY ", begin_v2[] = "\r\n\r\n\0\r\nQUIT\n";

static bool is_v1(const struct proxy_header *h) {
        return *h->octets == *begin_v1;
}

/* --- version 1 (section 2.1): "PROXY TCP4 192.0.2.1 192.0.2.2 4711 25", CRLF ------------------ */

/* The next word, which a single blank or the end of the line follows; NULL if there is none. */
static const char *next_word(char **line) {
        char *word = *line, *end;

        if (!word || !*word || *word == ' ')
                return NULL;
        end = strchrnul(word, ' ');
        *line = *end ? end + 1 : NULL;
        *end = '\0';
        return word;
}

static bool parse_port(const char *word, uint64_t *ret) {
        return word && (*word != '0' || !word[1]) && ascii_parse_number(word, UINT16_MAX, ret);
}

static bool parse_address(const char *word, int family) {
        struct in6_addr address;

        return word && inet_pton(family, word, &address) == 1;
}

static void set_client(struct proxy_header *h, const char *address, unsigned port) {
        size_t n = text_format(h->client, sizeof(h->client), strchr(address, ':') ? "[%s]" : "%s",
                               address);

        if (port > 0)
                text_format(h->client + n, sizeof(h->client) - n, ":%u", port);
}

/* "TCP4" or "TCP6" has been read. */
static bool parse_addresses(struct proxy_header *h, int family, char *rest) {
        const char *from = next_word(&rest), *to = next_word(&rest);
        const char *from_port = next_word(&rest), *to_port = next_word(&rest);
        uint64_t port, port_here;

        if (rest || !parse_address(from, family) || !parse_address(to, family) ||
            !parse_port(from_port, &port) || !parse_port(to_port, &port_here))
                return false;
        set_client(h, from, (unsigned) port);
        return true;
}

/* What follows UNKNOWN means nothing. */
static bool parse_v1(struct proxy_header *h) {
        char line[LINE_MAX_V1], *rest = line;
        size_t n = h->n - strlen(begin_v1) - strlen("\r\n");
        const char *protocol;

        memcpy(line, h->octets + strlen(begin_v1), n);
        line[n] = '\0';
        if (memchr(line, '\0', n) || !(protocol = next_word(&rest)))
                return false;
        if (strcmp(protocol, "TCP4") == 0)
                return parse_addresses(h, AF_INET, rest);
        if (strcmp(protocol, "TCP6") == 0)
                return parse_addresses(h, AF_INET6, rest);
        return strcmp(protocol, "UNKNOWN") == 0;
}

/* --- version 2 (section 2.2) ------------------------------------------------------------------ */

enum {
        AT_COMMAND = 12,
        AT_FAMILY = 13,
        AT_LENGTH = 14, /* of what comes after these 16 */
        LOCAL = 0x20,
        PROXY = 0x21,
        UNSPEC = 0x00,
        TCP4 = 0x11,
        UDP4 = 0x12,
        TCP6 = 0x21,
        UDP6 = 0x22,
        UNIX_STREAM = 0x31,
        UNIX_DGRAM = 0x32,
        TYPE_AUTHORITY = 0x02,
        TYPE_CRC32C = 0x03,
        TYPE_SSL = 0x20,
        SSL_VERSION = 0x21,
        SSL_CIPHER = 0x23,
        BEFORE_VALUES = 1 + 4, /* in the value of TYPE_SSL */
        CLIENT_SSL = 1 << 0,
        CLIENT_CERT_CONN = 1 << 1,
        CLIENT_CERT_SESS = 1 << 2,
};

/* Octets of the header that have not been read. */
struct rest {
        const unsigned char *at;
        size_t n;
};

static unsigned number_of_2(const unsigned char *at) {
        return (unsigned) at[0] << 8 | at[1];
}

static uint32_t number_of_4(const unsigned char *at) {
        return (uint32_t) number_of_2(at) << 16 | number_of_2(at + 2);
}

/* Takes a type, a length, and a value of that length. */
static bool take_value(struct rest *r, unsigned *ret_type, struct rest *ret) {
        enum { BEFORE_VALUE = 3 };

        if (r->n < BEFORE_VALUE || r->n - BEFORE_VALUE < number_of_2(r->at + 1))
                return false;
        *ret_type = *r->at;
        *ret = (struct rest) { r->at + BEFORE_VALUE, number_of_2(r->at + 1) };
        r->at += BEFORE_VALUE + ret->n;
        r->n -= BEFORE_VALUE + ret->n;
        return true;
}

static void set(char *out, size_t room, const struct rest *value) {
        security_set(out, room, (const char *) value->at, value->n);
}

static const char *verification(unsigned flags, uint32_t result) {
        if (!(flags & (CLIENT_CERT_CONN | CLIENT_CERT_SESS)))
                return "NONE";
        return result == 0 ? "SUCCESS" : "FAILED";
}

/* Section 2.2.6: flags, the result of verification, and more values. */
static bool parse_ssl(struct security *tls, struct rest r) {
        struct rest values = { r.at + BEFORE_VALUES, r.n - BEFORE_VALUES }, value;
        unsigned type;

        if (r.n < BEFORE_VALUES)
                return false;
        strcpy(tls->protocol, *r.at & CLIENT_SSL ? "TLS" : "");
        strcpy(tls->verify, verification(*r.at, number_of_4(r.at + 1)));
        tls->is_at_balancer = true;
        while (values.n > 0) {
                if (!take_value(&values, &type, &value))
                        return false;
                if (*r.at & CLIENT_SSL && type == SSL_VERSION)
                        set(tls->protocol, sizeof(tls->protocol), &value);
                if (*r.at & CLIENT_SSL && type == SSL_CIPHER)
                        set(tls->cipher, sizeof(tls->cipher), &value);
        }
        return true;
}

/* RFC 9260 appendix B; the four octets of the sum itself count as zeros. */
static bool check_sum(const struct proxy_header *h, const struct rest *sum) {
        const unsigned char *octets = (const unsigned char *) h->octets;
        uint32_t crc = UINT32_MAX;

        for (size_t i = 0; i < h->n; i++) {
                crc ^= octets + i >= sum->at && octets + i < sum->at + sum->n ? 0 : octets[i];
                for (int bit = 0; bit < 8; bit++)
                        crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
        }
        return sum->n == 4 && ~crc == number_of_4(sum->at);
}

static bool parse_values(struct proxy_header *h, struct rest r) {
        struct rest value;
        unsigned type;

        while (r.n > 0) {
                if (!take_value(&r, &type, &value))
                        return false;
                if (type == TYPE_AUTHORITY)
                        set(h->tls.sni, sizeof(h->tls.sni), &value);
                if (type == TYPE_CRC32C && !check_sum(h, &value))
                        return false;
                if (type == TYPE_SSL && !parse_ssl(&h->tls, value))
                        return false;
        }
        return true;
}

/* Both addresses, and after them both ports. */
static bool parse_ip(struct proxy_header *h, struct rest r, int family) {
        size_t n_address = family == AF_INET ? 4 : 16, n = 2 * (n_address + 2);
        char address[INET6_ADDRSTRLEN];

        if (r.n < n || !inet_ntop(family, r.at, address, sizeof(address)))
                return false;
        set_client(h, address, number_of_2(r.at + 2 * n_address));
        return parse_values(h, (struct rest) { r.at + n, r.n - n });
}

/* What comes with a client that is not named means nothing. */
static bool parse_v2(struct proxy_header *h) {
        const unsigned char *octets = (const unsigned char *) h->octets;
        const struct rest rest = { octets + FIXED_V2, h->n - FIXED_V2 };

        if (octets[AT_COMMAND] == LOCAL)
                return true;
        switch (octets[AT_FAMILY]) {
        case TCP4: return parse_ip(h, rest, AF_INET);
        case TCP6: return parse_ip(h, rest, AF_INET6);
        case UNSPEC:
        case UDP4:
        case UDP6:
        case UNIX_STREAM:
        case UNIX_DGRAM: return true;
        default: return false;
        }
}

/* --- either ----------------------------------------------------------------------------------- */

/* After each octet, the last of which is at `at`. */
static enum proxy_status look_v1(struct proxy_header *h, size_t at) {
        char octet = h->octets[at];

        if (at < strlen(begin_v1))
                return octet == begin_v1[at] ? PROXY_MORE : PROXY_BAD;
        if (octet != '\n')
                return h->n < LINE_MAX_V1 ? PROXY_MORE : PROXY_BAD;
        if (h->octets[at - 1] != '\r')
                return PROXY_BAD;
        return parse_v1(h) ? PROXY_DONE : PROXY_BAD;
}

static enum proxy_status look_v2(struct proxy_header *h, size_t at) {
        const unsigned char *octets = (const unsigned char *) h->octets;
        size_t n = FIXED_V2;

        if (at < AT_COMMAND)
                return h->octets[at] == begin_v2[at] ? PROXY_MORE : PROXY_BAD;
        if (octets[AT_COMMAND] != LOCAL && octets[AT_COMMAND] != PROXY)
                return PROXY_BAD;
        if (h->n >= FIXED_V2)
                n += number_of_2(octets + AT_LENGTH);
        if (n > PROXY_HEADER_MAX)
                return PROXY_BAD;
        if (h->n < FIXED_V2 || h->n < n)
                return PROXY_MORE;
        return parse_v2(h) ? PROXY_DONE : PROXY_BAD;
}

enum proxy_status proxy_header_take(struct proxy_header *h, const char *in, size_t n,
                                    size_t *ret_used) {
        enum proxy_status status = PROXY_MORE;

        for (*ret_used = 0; status == PROXY_MORE && *ret_used < n; ++*ret_used) {
                size_t at = h->n++;

                h->octets[at] = in[*ret_used];
                status = is_v1(h) ? look_v1(h, at) : look_v2(h, at);
        }
        return status;
}
