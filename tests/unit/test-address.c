/* SPDX-License-Identifier: MIT */
/* test-address.c - smtp/address: what is a path and what is none, where it ends, and what UTF-8 is.
 *
 * The parser is compared with a table, with the grammar written a second time as a POSIX regular
 * expression, and octet by octet.
 */
#include "smtp/address.h"

#include <regex.h>
#include <stdint.h>
#include <stdio.h>

#include "unit.h"

/* Parses a copy whose end is the end of its memory. */
static enum address_status parse(const char *s, size_t n, struct address *ret, size_t *ret_used) {
        static char buffer[5000];

        memset(ret, 'z', 8); /* it owes nothing to what was there */
        ret->is_utf8 = ret->has_route = true;
        return address_parse_path(unit_copy(buffer, sizeof(buffer), s, n), n, ret, ret_used);
}

/* --- paths ------------------------------------------------------------------------------------ */

enum { UTF8 = 1, ROUTE = 2 };

static const struct {
        const char *path;
        size_t n;
        const char *local, *domain; /* NULL: without "@" */
        const char *rest;           /* that was not taken */
        int flags;
} good[] = {
        { TEXT("<>"), "", NULL, "", 0 },
        { TEXT("<> SIZE=1"), "", NULL, " SIZE=1", 0 },
        { TEXT("<>x"), "", NULL, "x", 0 },
        { TEXT("<a@b>"), "a", "b", "", 0 },
        { TEXT("<A.b@C.Example>"), "A.b", "C.Example", "", 0 },
        { TEXT("<a@b> SIZE=1"), "a", "b", " SIZE=1", 0 },
        { TEXT("<a@b>>"), "a", "b", ">", 0 },
        { TEXT("<a@b>\0"), "a", "b", "\0", 0 },
        { TEXT("<Postmaster>"), "Postmaster", NULL, "", 0 },
        { TEXT("<a>"), "a", NULL, "", 0 },

        /* bare, as the lenient servers of old take it */
        { TEXT("a@b"), "a", "b", "", 0 },
        { TEXT("a@b SIZE=1"), "a", "b", " SIZE=1", 0 },
        { TEXT("a@b>"), "a", "b", ">", 0 },
        { TEXT("a@b."), "a", "b", "", 0 },
        { TEXT("a@b.."), "a", "b", ".", 0 },
        { TEXT("postmaster"), "postmaster", NULL, "", 0 },
        { TEXT("\"a b\"@c d"), "\"a b\"", "c", " d", 0 },
        { TEXT("a@[IPv6:::1] x"), "a", "[IPv6:::1]", " x", 0 },

        /* local parts */
        { TEXT("<!#$%&'*+-/=?^_`{|}~@c>"), "!#$%&'*+-/=?^_`{|}~", "c", "", 0 },
        { TEXT("<-a.b.c-@d>"), "-a.b.c-", "d", "", 0 },
        { TEXT("<a%b!c@d>"), "a%b!c", "d", "", 0 },
        { TEXT("<\"\"@c>"), "\"\"", "c", "", 0 },
        { TEXT("<\"a b\"@c>"), "\"a b\"", "c", "", 0 },
        { TEXT("<\"a@b\"@c>"), "\"a@b\"", "c", "", 0 },
        { TEXT("<\"a>b<c\"@d>"), "\"a>b<c\"", "d", "", 0 },
        { TEXT("<\".a..b.\"@c>"), "\".a..b.\"", "c", "", 0 },
        { TEXT("<\"a\\\"b\"@c>"), "\"a\\\"b\"", "c", "", 0 },
        { TEXT("<\"a\\\\\"@c>"), "\"a\\\\\"", "c", "", 0 },
        { TEXT("<\"\\ \\a\"@c>"), "\"\\ \\a\"", "c", "", 0 },
        { TEXT("<\"postmaster\">"), "\"postmaster\"", NULL, "", 0 },

        { TEXT("<.a@b>"), ".a", "b", "", 0 },
        { TEXT("<a.@b>"), "a.", "b", "", 0 },
        { TEXT("<a..b@c>"), "a..b", "c", "", 0 },
        { TEXT("<.@b>"), ".", "b", "", 0 },

        /* domains */
        { TEXT("<a@b-c.d--e.f>"), "a", "b-c.d--e.f", "", 0 },
        { TEXT("<a@1.2>"), "a", "1.2", "", 0 },
        { TEXT("<a@_b.c_d>"), "a", "_b.c_d", "", 0 },
        { TEXT("<a@[127.0.0.1]>"), "a", "[127.0.0.1]", "", 0 },
        { TEXT("<a@[IPv6:2001:db8::1]>"), "a", "[IPv6:2001:db8::1]", "", 0 },
        { TEXT("<a@[ipv6:2001:DB8::1.2.3.4]>"), "a", "[ipv6:2001:DB8::1.2.3.4]", "", 0 },
        { TEXT("<\"a b\"@[IPv6:::1]>"), "\"a b\"", "[IPv6:::1]", "", 0 },
        { TEXT("<a@b.c.>"), "a", "b.c", "", 0 },

        /* UTF-8 */
        { TEXT("<\xc3\xa9@b>"), "\xc3\xa9", "b", "", UTF8 },
        { TEXT("<a\xe2\x82\xac.b@c>"), "a\xe2\x82\xac.b", "c", "", UTF8 },
        { TEXT("<\"\xf0\x9f\x98\x80 a\"@b>"), "\"\xf0\x9f\x98\x80 a\"", "b", "", UTF8 },
        { TEXT("<a@\xc3\xa9>"), "a", "\xc3\xa9", "", UTF8 },
        { TEXT("<a@b\xc3\xa9.c>"), "a", "b\xc3\xa9.c", "", UTF8 },
        { TEXT("a@\xc3\xa9\xc3"), "a", "\xc3\xa9", "\xc3", UTF8 },

        /* source routes are dropped */
        { TEXT("<@x:a@b>"), "a", "b", "", ROUTE },
        { TEXT("<@x.y,@z:a@b> SIZE=1"), "a", "b", " SIZE=1", ROUTE },
        { TEXT("<@x,@y,@z:\"a b\"@[IPv6:::1]>"), "\"a b\"", "[IPv6:::1]", "", ROUTE },
        { TEXT("<@x:postmaster>"), "postmaster", NULL, "", ROUTE },
        { TEXT("<@\xc3\xa9:a@b>"), "a", "b", "", ROUTE },
};

START_TEST(takes) {
        struct address a;
        size_t used, n_rest = strlen(good[_i].rest) + (good[_i].path[good[_i].n - 1] == '\0');
        char text[100];

        ck_assert_int_eq(parse(good[_i].path, good[_i].n, &a, &used), ADDRESS_OK);
        snprintf(text, sizeof(text), "%s%s%s", good[_i].local, good[_i].domain ? "@" : "",
                 good[_i].domain ? good[_i].domain : "");
        ck_assert_str_eq(a.text, text);
        ck_assert_uint_eq(a.n_local, strlen(good[_i].local));
        ck_assert_str_eq(address_domain(&a), good[_i].domain ? good[_i].domain : "");
        ck_assert_uint_eq(used, good[_i].n - n_rest);
        ck_assert_int_eq(a.is_utf8, (good[_i].flags & UTF8) != 0);
        ck_assert_int_eq(a.has_route, (good[_i].flags & ROUTE) != 0);
        ck_assert_int_eq(address_is_null(&a), text[0] == '\0');
}
END_TEST

static const struct {
        const char *path;
        size_t n;
} bad[] = {
        { TEXT("") },
        { TEXT("<") },
        { TEXT(">") },
        { TEXT("< >") },
        { TEXT("<a") },
        { TEXT("<a@") },
        { TEXT("<a@b") },
        { TEXT("<a@b ") },
        { TEXT("a@") },
        { TEXT("a@ b") },
        { TEXT("@") },
        { TEXT("@b") },
        { TEXT("<@>") },
        { TEXT("<a@>") },
        { TEXT("<@b>") },
        { TEXT("<<a@b>>") },
        { TEXT("<<>>") },
        { TEXT(" <a@b>") },
        { TEXT(" a@b") },
        { TEXT("\0") },

        /* blanks and controls */
        { TEXT("< a@b>") },
        { TEXT("<a @b>") },
        { TEXT("<a b@c>") },
        { TEXT("<a@ b>") },
        { TEXT("<a@b >") },
        { TEXT("<a@b c>") },
        { TEXT("<a@b\r\n>") },
        { TEXT("<a\n@b>") },
        { TEXT("<a\0@b>") },
        { TEXT("<a@b\0>") },
        { TEXT("<a@b\0c>") },
        { TEXT("<\0>") },

        /* local parts */
        { TEXT("<a(b)@c>") },
        { TEXT("<a,b@c>") },
        { TEXT("<a:b@c>") },
        { TEXT("<a\\b@c>") },
        { TEXT("<a@b@c>") },
        { TEXT("<\"a@b>") },
        { TEXT("<\"a\"b@c>") },
        { TEXT("<a\"b\"@c>") },
        { TEXT("<\"a\".b@c>") },
        { TEXT("<\"a\\\"@c>") },
        { TEXT("<\"a\nb\"@c>") },
        { TEXT("<\"a\\\nb\"@c>") },
        { TEXT("<\"a\0b\"@c>") },
        { TEXT("<\"") },
        { TEXT("<\"a") },
        { TEXT("<\"a\\") },
        { TEXT("\"") },

        /* domains */
        { TEXT("<a@.b>") },
        { TEXT("<a@b..>") },
        { TEXT("<a@[x]>") },
        { TEXT("<a@[::1]>") },
        { TEXT("<a@[IPv6:x]>") },
        { TEXT("<a@[IPv6:1.2.3.4]>") },
        { TEXT("<a@[1.2.3]>") },
        { TEXT("<a@[1.2.3.256]>") },
        { TEXT("<a@[1.2.3.4].>") },
        { TEXT("<a@[IPv6:]>") },
        { TEXT("<a@[1.2.3.4\0]>") },
        { TEXT("<a@[1.2.3.4\0x]>") },
        { TEXT("<a@[IPv6:::1\0]>") },
        { TEXT("<a@b..c>") },
        { TEXT("<a@.>") },
        { TEXT("<a@->") },
        { TEXT("<a@-b>") },
        { TEXT("<a@b->") },
        { TEXT("<a@b.-c>") },
        { TEXT("<a@b-.c>") },
        { TEXT("<a@b!c>") },
        { TEXT("<a@\"b\">") },
        { TEXT("<a@[]>") },
        { TEXT("<a@[>") },
        { TEXT("<a@[1.2.3.4>") },
        { TEXT("<a@1.2.3.4]>") },
        { TEXT("<a@[1 2]>") },
        { TEXT("<a@[a\\b]>") },
        { TEXT("<a@[[1]]>") },
        { TEXT("<a@[1].b>") },
        { TEXT("<a@b.[1]>") },
        { TEXT("a@[") },
        { TEXT("a@[1") },

        /* what changes how the rest is shown: C1, separators, direction, byte order mark */
        { TEXT("<a\xc2\x80@b>") },
        { TEXT("<a@b\xc2\x9f>") },
        { TEXT("<a\xd8\x9c@b>") },
        { TEXT("<a\xe2\x80\x8e@b>") },
        { TEXT("<\"\xe2\x80\xa8\"@b>") },
        { TEXT("<a\xe2\x80\xae@b>") },
        { TEXT("<a\xe2\x81\xa9@b>") },
        { TEXT("<a@\xef\xbb\xbf.b>") },

        /* what is not UTF-8 */
        { TEXT("<\x80@b>") },
        { TEXT("<\xc3@b>") },
        { TEXT("<\xc0\xae@b>") },
        { TEXT("<\xed\xa0\x80@b>") },
        { TEXT("<\xf4\x90\x80\x80@b>") },
        { TEXT("<\"\xc3\"@b>") },
        { TEXT("<\"\\\xc3\xa9\"@b>") },
        { TEXT("<a@\xc0\xae>") },
        { TEXT("<a@b\xff>") },
        { TEXT("<a@[\xc3\xa9]>") },
        { TEXT("<\xe2\x82") },

        /* source routes */
        { TEXT("<@x:>") },
        { TEXT("<@:a@b>") },
        { TEXT("<@x a@b>") },
        { TEXT("<@x,a@b>") },
        { TEXT("<@x,:a@b>") },
        { TEXT("<@x,@:a@b>") },
        { TEXT("<x:a@b>") },
        { TEXT("<x,@y:a@b>") },
        { TEXT("<@x@y:a@b>") },
        { TEXT("<@x.:a@b>") },
        { TEXT("<@x,") },
        { TEXT("<@x") },
        { TEXT("<@x:@y:a@b>") },
        { TEXT("@x:a@b") },
};

START_TEST(refuses) {
        struct address a;
        size_t used;

        ck_assert_int_eq(parse(bad[_i].path, bad[_i].n, &a, &used), ADDRESS_BAD);
}
END_TEST

/* --- sizes ------------------------------------------------------------------------------------ */

static const struct {
        const char *format; /* of a local part and a domain, in this order */
        int n_local;
        int n_domain;
        int n_label; /* octets of each label but the last */
        enum address_status status;
} sizes[] = {
        { "<%.*s@%.*s>", 1, 1, 63, ADDRESS_OK },
        { "<%.*s@%.*s>", 64, 255, 63, ADDRESS_OK },
        { "<%.*s@%.*s>", 65, 255, 63, ADDRESS_OK },
        { "<%.*s@%.*s>", 256, 100, 63, ADDRESS_OK },
        { "<%.*s@%.*s>", 768, 255, 63, ADDRESS_OK },
        { "<%.*s@%.*s>", 769, 255, 63, ADDRESS_TOO_LONG },
        { "<%.*s@%.*s>", 768, 256, 49, ADDRESS_TOO_LONG },
        { "<%.*s@%.*s>", 1022, 1, 63, ADDRESS_OK },
        { "<%.*s@%.*s>", 1023, 1, 63, ADDRESS_TOO_LONG },
        { "<%.*s@%.*s>", 1024, 1, 63, ADDRESS_TOO_LONG },
        { "<%.*s@%.*s>", 2000, 1, 63, ADDRESS_TOO_LONG },
        { "%.*s@%.*s", 768, 255, 63, ADDRESS_OK },
        { "%.*s@%.*s", 769, 255, 63, ADDRESS_TOO_LONG },
        { "<\"%.*s\"@%.*s>", 766, 255, 63, ADDRESS_OK },
        { "<\"%.*s\"@%.*s>", 767, 255, 63, ADDRESS_TOO_LONG },
        { "<@route:%.*s@%.*s>", 768, 255, 63, ADDRESS_OK },
        { "<@route:%.*s@%.*s>", 769, 255, 63, ADDRESS_TOO_LONG },
        { "<%.*s@%.*s>", 1, 255, 49, ADDRESS_OK },
        { "<%.*s@%.*s>", 1, 256, 49, ADDRESS_TOO_LONG },
        { "<%.*s@%.*s>", 1, 990, 49, ADDRESS_TOO_LONG },
        { "<%.*s@%.*s>", 1, 63, 63, ADDRESS_OK },
        { "<%.*s@%.*s>", 1, 64, 64, ADDRESS_BAD },
        { "<%.*s@%.*s>", 1, 100, 64, ADDRESS_BAD },
        { "<%.*s@a.%.*s>", 1, 63, 63, ADDRESS_OK },
        { "<%.*s@a.%.*s>", 1, 64, 64, ADDRESS_BAD },
        { "<%.*s@[%.*s]>", 1, 253, 253, ADDRESS_BAD },
        { "<%.*s@%.*s.>", 64, 255, 63, ADDRESS_OK },
        { "<%.*s@%.*s.>", 64, 256, 49, ADDRESS_TOO_LONG },
        { "<%.*s>", 1024, 0, 63, ADDRESS_OK },
        { "<%.*s>", 1025, 0, 63, ADDRESS_TOO_LONG },
};

START_TEST(measures) {
        char local[2001], domain[2001], path[5000];
        size_t used;
        struct address a;
        int n;

        memset(local, 'l', sizeof(local));
        memset(domain, 'd', sizeof(domain));
        for (int i = sizes[_i].n_label; i < sizes[_i].n_domain; i += sizes[_i].n_label + 1)
                domain[i] = '.';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        n = snprintf(path, sizeof(path), sizes[_i].format, sizes[_i].n_local, local,
                     sizes[_i].n_domain, domain);
#pragma GCC diagnostic pop
        ck_assert_int_eq(parse(path, (size_t) n, &a, &used), sizes[_i].status);
        if (sizes[_i].status == ADDRESS_OK) {
                ck_assert_uint_eq(used, (size_t) n);
                ck_assert_ptr_nonnull(strstr(path, a.text));
                ck_assert(strchr(".>", strstr(path, a.text)[strlen(a.text)]));
        }
}
END_TEST

/* --- every octet at every place --------------------------------------------------------------- */

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static const struct {
        const char *before, *after;
        const char *allowed; /* beside those of `from` to `to`, if they are given */
        unsigned char from, to;
} places[] = {
        { "<a", "a@b>", LETTERS DIGITS "!#$%&'*+-/=?^_`{|}~.", 1, 0 },
        { "<", "a@b>", LETTERS DIGITS "!#$%&'*+-/=?^_`{|}~.", 1, 0 },
        { "<\"", "\"@b>", "", 32, 126 },   /* but not all: see below */
        { "<\"\\", "\"@b>", "", 32, 126 }, /* here too */
        { "<\"\\", "a\"@b>", "", 32, 126 },
        { "<a@b", "b>", LETTERS DIGITS "-_.", 1, 0 },
        { "<a@", "b>", LETTERS DIGITS "_", 1, 0 },
        { "<a@b", ">", LETTERS DIGITS "_.", 1, 0 },
        { "<a@[", "0.0.0.1]>", "123456789", 1, 0 },
        { "<@b", "b:a@b>", LETTERS DIGITS "-_.", 1, 0 },
        { "<a@b>", "", "", 1, 0 },
};

/* What those that take nearly everything do not take: the quotes of their own. */
static bool is_excepted(const char *before, const char *after, int c) {
        return strcmp(before, "<\"") == 0 && strcmp(after, "\"@b>") == 0 && (c == '"' || c == '\\');
}

START_TEST(knows_every_octet) {
        for (int c = 0; c < 256; c++) {
                char path[32];
                const char *before = places[_i].before, *after = places[_i].after;
                size_t used, n = (size_t) snprintf(path, sizeof(path), "%s%c%s", before, c, after);
                struct address a;
                bool want = (c != '\0' && strchr(places[_i].allowed, c)) ||
                            (c >= places[_i].from && c <= places[_i].to &&
                             !is_excepted(before, after, c));
                bool got = parse(path, n, &a, &used) == ADDRESS_OK && used == n;

                ck_assert_msg(got == want, "octet %d after %s", c, before);
        }
}
END_TEST

/* --- the grammar again ------------------------------------------------------------------------ */

#define NON_ASCII "\xc3\xa9" /* the only UTF-8 of these tests */
#define ATOMS "([!#$%&'*+/=?^_`{|}~0-9A-Za-z.-]|" NON_ASCII ")+"
#define QUOTED "\"([]^-~ !#-[]|\\\\[ -~]|" NON_ASCII ")*\""
#define LABEL_OCTET "([0-9A-Za-z_]|" NON_ASCII ")"
#define LABEL LABEL_OCTET "((" LABEL_OCTET "|-)*" LABEL_OCTET ")?"
#define DOMAIN LABEL "(\\." LABEL ")*"
#define LITERAL "\\[[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+]"
#define MAILBOX "(" ATOMS "|" QUOTED ")(@(" DOMAIN "\\.?|" LITERAL "))?"
#define PATH "^(" MAILBOX "|<>|<(@" DOMAIN "(,@" DOMAIN ")*:)?" MAILBOX ">)$"

/* No control octet, and no blank but those in the quotes of a local part. */
static bool is_harmless(const struct address *a) {
        bool in_quotes = false;

        for (const char *p = a->text; *p; p++) {
                if (*p == '\\' && in_quotes)
                        p++;
                else if (*p == '"' && p < a->text + a->n_local)
                        in_quotes = !in_quotes;
                if ((unsigned char) *p < ' ' || *p == '\x7f' || (*p == ' ' && !in_quotes))
                        return false;
        }
        return !in_quotes && a->n_local <= strlen(a->text);
}

/* Around a piece that the test spells. */
static const char *const frames[] = { "%s",         "<%s>",     "<a%sb@c>", "<a@b%sc>",
                                      "<\"%s\"@c>", "<@%sa@b>", "<a@[%s]>" };

/* Every piece of up to four of these octets. Accepted as a whole is what the expression matches. */
START_TEST(agrees_with_grammar) {
        /* with its NUL: pieces that are shorter */
        static const char octets[] = "a.-\"\\@<>[]:, \t\xc3\xa9";
        enum { N = sizeof(octets) };
        regex_t grammar;

        ck_assert_int_eq(regcomp(&grammar, PATH, REG_EXTENDED | REG_NOSUB), 0);
        for (size_t i = 0; i < N * N * N * N; i += unit_step()) {
                char piece[5] = { octets[i % N], octets[i / N % N], octets[i / N / N % N],
                                  octets[i / N / N / N] };
                char path[32];
                struct address a;
                size_t used, n;
                bool got;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
                n = (size_t) snprintf(path, sizeof(path), frames[_i], piece);
#pragma GCC diagnostic pop
                got = parse(path, n, &a, &used) == ADDRESS_OK;
                if (got && (used > n || !is_harmless(&a)))
                        ck_abort_msg("not harmless: %s", path);
                if ((got && used == n) != (regexec(&grammar, path, 0, NULL, 0) == 0))
                        ck_abort_msg("%s: %s", got && used == n ? "accepted" : "refused", path);
        }
        regfree(&grammar);
}
END_TEST

/* --- postmaster ------------------------------------------------------------------------------- */

static const struct {
        const char *path;
        bool is_postmaster;
} postmasters[] = {
        { "<postmaster>", true },      { "<Postmaster>", true },
        { "POSTMASTER", true },        { "<@a:postmaster>", true },
        { "<postmaster@a>", false },   { "<postmaster2>", false },
        { "<postmaste>", false },      { "<>", false },
        { "<\"postmaster\">", false }, { "<postmaster@postmaster>", false },
};

START_TEST(knows_postmaster) {
        struct address a;
        size_t used;

        ck_assert_int_eq(parse(postmasters[_i].path, strlen(postmasters[_i].path), &a, &used),
                         ADDRESS_OK);
        ck_assert_int_eq(address_is_postmaster(&a), postmasters[_i].is_postmaster);
}
END_TEST

static const struct {
        const char *first, *second;
        bool is_same;
} pairs[] = {
        { "<a@b>", "<a@b>", true },
        { "<a@Bc.D>", "<a@bC.d>", true },
        { "<A@b>", "<a@b>", false },
        { "<a@b>", "<a@b.c>", false },
        { "<a@b>", "<aa@b>", false },
        { "<\"a@B\"@c>", "<\"a@b\"@c>", false },
        { "<\"a\"@b>", "<a@b>", false },
        { "<@x:a@b>", "<a@b>", true },
        { "<Postmaster>", "<Postmaster>", true },
        { "<Postmaster>", "<postmaster>", false },
        { "<Postmaster>", "<Postmaster@a>", false },
        { "<a@[IPv6:::A]>", "<a@[ipv6:::a]>", true },
        { "<a@\u00c4>", "<a@\u00e4>", false },
};

START_TEST(knows_the_same) {
        const char *a = pairs[_i].first, *b = pairs[_i].second;
        struct address first, second;
        size_t used;

        ck_assert_int_eq(parse(a, strlen(a), &first, &used), ADDRESS_OK);
        ck_assert_int_eq(parse(b, strlen(b), &second, &used), ADDRESS_OK);
        ck_assert_int_eq(address_is_same(&first, &second), pairs[_i].is_same);
        ck_assert_int_eq(address_is_same(&second, &first), pairs[_i].is_same);
}
END_TEST

/* --- UTF-8 ------------------------------------------------------------------------------------ */

/* The reference: decode by arithmetic, then ask whether this code point is written so. */
static size_t utf8_reference(const unsigned char *s, size_t n) {
        static const uint32_t minimum[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t length = 0;
        uint32_t point;

        while (length < 8 && s[0] & 0x80 >> length)
                length++;
        if (length < 2 || length > 4 || n < length)
                return 0;
        point = s[0] & (0xffU >> (length + 1));
        for (size_t i = 1; i < length; i++) {
                if (s[i] / 64 != 2)
                        return 0;
                point = point * 64 + s[i] % 64;
        }
        return point >= minimum[length] && point <= 0x10ffff && point / 0x800 != 0xd800 / 0x800
                       ? length
                       : 0;
}

static void compare_utf8(const unsigned char *s, size_t n) {
        if (utf8_length((const char *) s, n) != utf8_reference(s, n))
                ck_abort_msg("%zu of %02x %02x %02x %02x", n, s[0], s[1], s[2], s[3]);
}

/* _i is the first octet: all second ones, all third ones where they count, and the edges among the
 * fourth. */
START_TEST(agrees_on_utf8) {
        static const unsigned char fourth[] = {
                0x00, 0x41, 0x7f, 0x80, 0x81, 0xa5, 0xbf, 0xc0, 0xff
        };

        for (unsigned second = 0; second < 256; second += unit_step())
                for (unsigned third = 0; third < 256; third += _i < 0xe0 ? 51 : 1)
                        for (size_t i = 0; i < ELEMENTS(fourth); i++) {
                                unsigned char s[] = { (unsigned char) _i, (unsigned char) second,
                                                      (unsigned char) third, fourth[i] };

                                for (size_t n = i == 0 && third == 0 ? 1 : 3; n <= 4; n++)
                                        compare_utf8(s, n);
                        }
}
END_TEST

/* Every code point as it is written. */
START_TEST(knows_every_character) {
        for (uint32_t c = 0x80; c < 0x110000; c += unit_step()) {
                size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
                unsigned char s[4];
                uint32_t rest = c;

                for (size_t i = length - 1; i > 0; i--, rest >>= 6)
                        s[i] = (unsigned char) (0x80 | (rest & 0x3f));
                s[0] = (unsigned char) (0xf00U >> length | rest);
                if (utf8_length((char *) s, length) != (c >= 0xd800 && c <= 0xdfff ? 0 : length))
                        ck_abort_msg("U+%04X", c);
        }
}
END_TEST

START_TEST(reads_no_further) {
        static const char *const cut[] = { "",     "\xc3",     "\xe2",         "\xe2\x82",
                                           "\xf0", "\xf0\x9f", "\xf0\x9f\x98", "a" };
        char buffer[8];
        size_t n = strlen(cut[_i]);

        ck_assert_uint_eq(utf8_length(unit_copy(buffer, sizeof(buffer), cut[_i], n), n), 0);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("address");
        TCase *tcase = unit_tcase(suite, "paths");

        UNIT_TABLE(tcase, takes, good);
        UNIT_TABLE(tcase, refuses, bad);
        UNIT_TABLE(tcase, measures, sizes);
        UNIT_TABLE(tcase, knows_every_octet, places);
        UNIT_TABLE(tcase, agrees_with_grammar, frames);
        UNIT_TABLE(tcase, knows_postmaster, postmasters);
        UNIT_TABLE(tcase, knows_the_same, pairs);
        tcase = unit_tcase(suite, "utf8");
        tcase_add_loop_test(tcase, agrees_on_utf8, 0, 256);
        tcase_add_test(tcase, knows_every_character);
        tcase_add_loop_test(tcase, reads_no_further, 0, 8);
        return unit_run(suite);
}
