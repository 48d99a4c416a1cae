/* SPDX-License-Identifier: MIT */
/* smtp/address.c - mailboxes and paths. RFC 5321 section 4.1.2, 4.1.3; RFC 6531 section 3.3.
 *
 *   Path            = "<" [ A-d-l ":" ] Mailbox ">"  /  "<>"  /  "<" Local-part ">"  /  Mailbox
 *   A-d-l           = "@" Domain *( "," "@" Domain )
 *   Mailbox         = Local-part "@" ( Domain / address-literal )
 *   Local-part      = Dot-string / Quoted-string
 *   Dot-string      = 1*( atext / "." / UTF8-non-ascii )
 *   Quoted-string   = DQUOTE *( qtext / "\" %d32-126 / UTF8-non-ascii ) DQUOTE
 *   Domain          = sub-domain *( "." sub-domain ) [ "." ]
 *   sub-domain      = 1*63( ALPHA / DIGIT / "-" / "_" / UTF8-non-ascii )
 *   address-literal = "[" IPv4-address "]" / "[IPv6:" IPv6-address "]"
 *
 * A Dot-string may have dots anywhere, and a sub-domain "_": neither is the RFC's, but both are in
 * use. No hyphen is at either end of a sub-domain. The dot at the end of a Domain is dropped. Of
 * literals there is all of the RFC's grammar that is in use.
 *
 * UTF8-non-ascii does not include what is no character to a reader, but changes how the others are
 * shown: C1 controls, line and paragraph separators, controls of the writing direction, the byte
 * order mark.
 *
 * Each function below takes its piece at p and returns the octets it takes; 0 says that there is
 * none.
 */
#include "smtp/address.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/array.h"
#include "base/ascii.h"

static bool is_atext(char c) {
        return ascii_is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool is_continuation(char c) {
        return ((unsigned char) c & 0xc0) == 0x80;
}

/* RFC 3629 section 4: no overlong forms, no surrogates, nothing over U+10FFFF. */
size_t utf8_length(const char *s, size_t n) {
        static const struct {
                unsigned char first, last, second_min, second_max, length;
        } forms[] = {
                { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
                { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 },
                { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
                { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
        };
        unsigned char first = n > 0 ? (unsigned char) s[0] : 0;

        for (size_t i = 0; i < ELEMENTS(forms); i++)
                if (first >= forms[i].first && first <= forms[i].last) {
                        if (n < forms[i].length || (unsigned char) s[1] < forms[i].second_min ||
                            (unsigned char) s[1] > forms[i].second_max)
                                return 0;
                        for (size_t k = 2; k < forms[i].length; k++)
                                if (!is_continuation(s[k]))
                                        return 0;
                        return forms[i].length;
                }
        return 0;
}

static unsigned code_point(const char *s, size_t length) {
        unsigned c = (unsigned char) s[0] & (0xffU >> (length + 1));

        for (size_t i = 1; i < length; i++)
                c = c << 6 | ((unsigned char) s[i] & 0x3fU);
        return c;
}

static const struct {
        unsigned first, last;
} invisible[] = {
        { 0x80, 0x9f },     { 0x061c, 0x061c }, { 0x200e, 0x200f },
        { 0x2028, 0x202e }, { 0x2066, 0x2069 }, { 0xfeff, 0xfeff },
};

static bool is_invisible(unsigned c) {
        for (size_t i = 0; i < ELEMENTS(invisible); i++)
                if (c >= invisible[i].first && c <= invisible[i].last)
                        return true;
        return false;
}

static size_t non_ascii(const char *p, size_t n) {
        size_t length = utf8_length(p, n);

        return length > 0 && is_invisible(code_point(p, length)) ? 0 : length;
}

static size_t dot_string(const char *p, size_t n) {
        size_t at = 0, utf8 = 0;

        while (at < n &&
               (is_atext(p[at]) || p[at] == '.' || (utf8 = non_ascii(p + at, n - at)) > 0))
                at += (p[at] & 0x80) ? utf8 : 1;
        return at;
}

static size_t quoted_string(const char *p, size_t n) {
        size_t at = 1;

        if (n < 2 || p[0] != '"')
                return 0;
        while (at < n && p[at] != '"') {
                size_t utf8 = non_ascii(p + at, n - at);

                if (p[at] == '\\' && ++at == n)
                        return 0;
                if (utf8 == 0 && (p[at] < ' ' || p[at] > '~'))
                        return 0;
                at += utf8 > 0 ? utf8 : 1;
        }
        return at < n ? at + 1 : 0;
}

static size_t sub_domain(const char *p, size_t n) {
        size_t at = 0, utf8 = 0;

        while (at < n && (ascii_is_alnum(p[at]) || p[at] == '-' || p[at] == '_' ||
                          (utf8 = non_ascii(p + at, n - at)) > 0))
                at += (p[at] & 0x80) ? utf8 : 1;
        return at > 0 && at <= 63 && p[0] != '-' && p[at - 1] != '-' ? at : 0;
}

/* Without the dot that may be at its end. */
static size_t host_name(const char *p, size_t n) {
        size_t at = sub_domain(p, n), next;

        while (at > 0 && at + 1 < n && p[at] == '.' &&
               (next = sub_domain(p + at + 1, n - at - 1)) > 0)
                at += 1 + next;
        return at;
}

static size_t address_literal(const char *p, size_t n) {
        const char *end = memchr(p, ']', n);
        bool is_v6 = n > 6 && ascii_is_equal(p + 1, "IPv6:", 5);
        const char *text = p + (is_v6 ? 6 : 1);
        char address[INET6_ADDRSTRLEN];
        struct in6_addr any;

        if (!end || end <= text || (size_t) (end - text) >= sizeof(address) ||
            memchr(text, '\0', (size_t) (end - text)))
                return 0; /* inet_pton(3) would not see what comes after a NUL */
        *(char *) mempcpy(address, text, (size_t) (end - text)) = '\0';
        return inet_pton(is_v6 ? AF_INET6 : AF_INET, address, &any) == 1 ? (size_t) (end + 1 - p)
                                                                         : 0;
}

static size_t domain(const char *p, size_t n) {
        return n > 0 && p[0] == '[' ? address_literal(p, n) : host_name(p, n);
}

static size_t local_part(const char *p, size_t n) {
        return n > 0 && p[0] == '"' ? quoted_string(p, n) : dot_string(p, n);
}

/* "@a.example,@b.example:" */
static size_t source_route(const char *p, size_t n) {
        size_t at = 0, name;

        while (at < n && p[at] == '@' && (name = host_name(p + at + 1, n - at - 1)) > 0) {
                at += 1 + name;
                if (at < n && p[at] == ':')
                        return at + 1;
                if (at == n || p[at++] != ',')
                        return 0;
        }
        return 0;
}

/* Stores what stands at p: a local part, and a domain if an "@" follows it. */
static enum address_status take_mailbox(const char *p, size_t n, struct address *ret,
                                        size_t *ret_used) {
        size_t n_local = local_part(p, n), n_domain, used = n_local;

        if (n_local == 0)
                return ADDRESS_BAD;
        if (used < n && p[used] == '@') {
                n_domain = domain(p + used + 1, n - used - 1);
                if (n_domain == 0)
                        return ADDRESS_BAD;
                if (n_domain > DOMAIN_MAX)
                        return ADDRESS_TOO_LONG;
                used += 1 + n_domain;
        }
        if (used > ADDRESS_MAX)
                return ADDRESS_TOO_LONG;
        memcpy(ret->text, p, used);
        ret->text[used] = '\0';
        ret->n_local = (unsigned short) n_local;
        for (size_t i = 0; i < used; i++)
                ret->is_utf8 |= (p[i] & 0x80) != 0;
        *ret_used = used + (used > n_local && p[used - 1] != ']' && used < n && p[used] == '.');
        return ADDRESS_OK;
}

static void clear(struct address *a) {
        a->text[0] = '\0';
        a->n_local = 0;
        a->is_utf8 = a->has_route = false;
}

enum address_status address_parse_path(const char *s, size_t n, struct address *ret,
                                       size_t *ret_used) {
        bool has_angle = n > 0 && s[0] == '<';
        size_t at = has_angle, used = 0, route;

        clear(ret);
        if (!(has_angle && n > 1 && s[1] == '>')) { /* not the null path */
                enum address_status status;

                route = has_angle ? source_route(s + at, n - at) : 0;
                ret->has_route = route > 0;
                at += route;
                status = take_mailbox(s + at, n - at, ret, &used);
                if (status != ADDRESS_OK)
                        return status;
                at += used;
        }
        if (has_angle && (at == n || s[at++] != '>'))
                return ADDRESS_BAD;
        *ret_used = at;
        return ADDRESS_OK;
}

const char *address_domain(const struct address *a) {
        return a->text + a->n_local + (a->text[a->n_local] == '@');
}

enum address_status address_qualify(struct address *a, const char *domain) {
        size_t n = a->n_local, n_domain = strlen(domain);

        if (n == 0 || a->text[n] == '@')
                return ADDRESS_OK;
        if (n + 1 + n_domain > ADDRESS_MAX)
                return ADDRESS_TOO_LONG;
        a->text[n] = '@';
        memcpy(a->text + n + 1, domain, n_domain + 1);
        return ADDRESS_OK;
}

void address_plain(const struct address *a, char ret[static ADDRESS_MAX + 1]) {
        size_t begin = a->text[0] == '"', end = a->n_local - begin;
        char *out = ret;

        for (size_t i = begin; i < end; i++) {
                if (begin > 0 && a->text[i] == '\\')
                        i++;
                *out++ = a->text[i];
        }
        strcpy(out, a->text + a->n_local);
}

bool address_is_same(const struct address *a, const struct address *b) {
        size_t n = strlen(a->text);

        return a->n_local == b->n_local && memcmp(a->text, b->text, a->n_local) == 0 &&
               strlen(b->text) == n &&
               ascii_is_equal(a->text + a->n_local, b->text + a->n_local, n - a->n_local);
}

bool address_is_postmaster(const struct address *a) {
        return a->n_local == strlen("postmaster") && a->text[a->n_local] == '\0' &&
               ascii_is_equal(a->text, "postmaster", a->n_local);
}
