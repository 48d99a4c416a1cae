/* SPDX-License-Identifier: MIT */
/* test-address.c - smtp/address: what is a path and what is none, where it ends, and what is the
 * same. */
#include <stdio.h>

#include "path.h"

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

int main(void) {
        Suite *suite = suite_create("address");
        TCase *tcase = unit_tcase(suite, "paths");

        UNIT_TABLE(tcase, takes, good);
        UNIT_TABLE(tcase, refuses, bad);
        UNIT_TABLE(tcase, measures, sizes);
        UNIT_TABLE(tcase, knows_postmaster, postmasters);
        UNIT_TABLE(tcase, knows_the_same, pairs);
        return unit_run(suite);
}
