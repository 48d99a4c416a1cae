/* SPDX-License-Identifier: MIT */
/* test-reply-parse.c - smtp/reply: replies parsed; and that printing and parsing are inverse. */
#include "smtp/reply.h"

#include <stdint.h>
#include <stdio.h>

#include "count.h"
#include "unit.h"

/* --- parsing ---------------------------------------------------------------------------------- */

struct heard {
        enum reply_status status;
        size_t used;
        struct reply reply;
};

/* Parses in pieces of `piece` octets. */
static struct heard hear(const char *wire, size_t n, size_t piece) {
        static char buffer[120000];
        struct reply_parser p = { 0 };
        struct heard h = { .status = REPLY_MORE };

        while (h.used < n && h.status == REPLY_MORE) {
                size_t part = n - h.used < piece ? n - h.used : piece, used = SIZE_MAX;
                char *copy = unit_copy(buffer, sizeof(buffer), wire + h.used, part);

                h.status = reply_parse(&p, copy, part, &used);
                if (used > part || (h.status == REPLY_MORE && used < part))
                        ck_abort_msg("used %zu of %zu", used, part);
                h.used += used;
        }
        h.reply = p.reply;
        return h;
}

static const struct {
        const char *wire;
        size_t n;
        enum reply_status status;
        size_t used;        /* unless it is bad */
        struct reply reply; /* if it is done */
} parsed[] = {
        { TEXT("250 OK\r\n"), REPLY_DONE, 8, { 250, "", "OK" } },
        { TEXT("250 2.0.0 OK\r\n"), REPLY_DONE, 14, { 250, "2.0.0", "OK" } },
        { TEXT("250 OK\n"), REPLY_DONE, 7, { 250, "", "OK" } },
        { TEXT("250\r\n"), REPLY_DONE, 5, { 250, "", "" } },
        { TEXT("250 \r\n"), REPLY_DONE, 6, { 250, "", "" } },
        { TEXT("250 2.0.0\r\n"), REPLY_DONE, 11, { 250, "2.0.0", "" } },
        { TEXT("250 2.0.0  x\r\n"), REPLY_DONE, 14, { 250, "2.0.0", " x" } },
        { TEXT("200 a\r\n"), REPLY_DONE, 7, { 200, "", "a" } },
        { TEXT("599 a\r\n"), REPLY_DONE, 7, { 599, "", "a" } },
        { TEXT("354 go\r\n"), REPLY_DONE, 8, { 354, "", "go" } },
        { TEXT("250-a\r\n250-b\r\n250 c\r\n"), REPLY_DONE, 21, { 250, "", "a\nb\nc" } },
        { TEXT("250-a\n250\n"), REPLY_DONE, 10, { 250, "", "a\n" } },
        { TEXT("250-\r\n250 a\r\n"), REPLY_DONE, 13, { 250, "", "\na" } },
        { TEXT("550-5.1.1 a\r\n550-b\r\n550 5.7.1 c\r\n"),
          REPLY_DONE,
          33,
          { 550, "5.1.1", "a\nb\nc" } },
        { TEXT("550-a\r\n550 5.1.1 b\r\n"), REPLY_DONE, 20, { 550, "", "a\nb" } },
        { TEXT("250 a\r\n250 b\r\n"), REPLY_DONE, 7, { 250, "", "a" } },
        { TEXT("250 a\r\nnonsense"), REPLY_DONE, 7, { 250, "", "a" } },
        { TEXT("250 a\tb\x7f\xc3\xa9\r\n"), REPLY_DONE, 12, { 250, "", "a?b???" } },
        { TEXT("250 a\rb\r\r\n"), REPLY_DONE, 10, { 250, "", "a?b?" } },

        /* what is an enhanced code */
        { TEXT("450 4.1.1 a\r\n"), REPLY_DONE, 13, { 450, "4.1.1", "a" } },
        { TEXT("550 5.123.456 a\r\n"), REPLY_DONE, 17, { 550, "5.123.456", "a" } },
        { TEXT("550 5.1234.1 a\r\n"), REPLY_DONE, 16, { 550, "", "5.1234.1 a" } },
        { TEXT("550 5.1.1234 a\r\n"), REPLY_DONE, 16, { 550, "", "5.1.1234 a" } },
        { TEXT("550 5.1 a\r\n"), REPLY_DONE, 11, { 550, "", "5.1 a" } },
        { TEXT("550 5.1. a\r\n"), REPLY_DONE, 12, { 550, "", "5.1. a" } },
        { TEXT("550 5..1 a\r\n"), REPLY_DONE, 12, { 550, "", "5..1 a" } },
        { TEXT("550 5.1.1a\r\n"), REPLY_DONE, 12, { 550, "", "5.1.1a" } },
        { TEXT("550 5.1.1.1 a\r\n"), REPLY_DONE, 15, { 550, "", "5.1.1.1 a" } },
        { TEXT("550 55.1.1 a\r\n"), REPLY_DONE, 14, { 550, "", "55.1.1 a" } },
        { TEXT("550 2.1.1 a\r\n"), REPLY_DONE, 13, { 550, "", "a" } },
        { TEXT("550 4.1.1 a\r\n"), REPLY_DONE, 13, { 550, "", "a" } },
        { TEXT("354 3.0.0 a\r\n"), REPLY_DONE, 13, { 354, "", "3.0.0 a" } },
        { TEXT("250 10.0.0.1 a\r\n"), REPLY_DONE, 16, { 250, "", "10.0.0.1 a" } },

        /* not over yet */
        { TEXT(""), REPLY_MORE, 0, { 0 } },
        { TEXT("250 a"), REPLY_MORE, 5, { 0 } },
        { TEXT("250 a\r"), REPLY_MORE, 6, { 0 } },
        { TEXT("250-a\r\n"), REPLY_MORE, 7, { 0 } },
        { TEXT("250-a\r\n250"), REPLY_MORE, 10, { 0 } },
        { TEXT("nonsense"), REPLY_MORE, 8, { 0 } },

        /* no reply */
        { TEXT("\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("nonsense\r\n250 a\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("25\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("25 a\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("2500 a\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("250a\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("250\ta\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("199 a\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("600 a\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("2:0 a\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("25/ a\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT(" 250 a\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("250 a\0b\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("250-a\r\n251 b\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("250-a\r\n550 b\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("250-a\r\nb\r\n"), REPLY_BAD, 0, { 0 } },
        { TEXT("250-a\r\n\r\n"), REPLY_BAD, 0, { 0 } },
};

START_TEST(parses) {
        for (size_t piece = 1; piece <= parsed[_i].n + 1; piece++) {
                struct heard h = hear(parsed[_i].wire, parsed[_i].n, piece);

                ck_assert_int_eq(h.status, parsed[_i].status);
                if (h.status != REPLY_BAD) /* after that there is nothing to go on with */
                        ck_assert_uint_eq(h.used, parsed[_i].used);
                if (h.status != REPLY_DONE)
                        continue;
                ck_assert_int_eq(h.reply.code, parsed[_i].reply.code);
                ck_assert_str_eq(h.reply.enhanced, parsed[_i].reply.enhanced);
                ck_assert_str_eq(h.reply.text, parsed[_i].reply.text);
        }
}
END_TEST

static const struct {
        size_t n_lines, n_line;
        enum reply_status status;
        size_t kept_lines, kept_octets; /* of text, with the LFs between lines */
} floods[] = {
        { 1, 505, REPLY_DONE, 1, 505 },   { 1, 506, REPLY_DONE, 1, 506 },
        { 1, 507, REPLY_DONE, 1, 506 },   { 1, 508, REPLY_DONE, 1, 506 },
        { 1, 50000, REPLY_DONE, 1, 506 }, { 2, 500, REPLY_DONE, 2, 1000 },
        { 2, 499, REPLY_DONE, 2, 999 },   { 2, 50000, REPLY_DONE, 2, 1000 },
        { 39, 1, REPLY_DONE, 39, 77 },    { 40, 1, REPLY_DONE, 40, 79 },
        { 41, 1, REPLY_DONE, 40, 79 },    { 40, 100, REPLY_DONE, 10, 1000 },
        { 512, 1, REPLY_DONE, 40, 79 },   { 512, 100, REPLY_DONE, 10, 1000 },
        { 513, 1, REPLY_BAD, 0, 0 },      { 513, 100, REPLY_BAD, 0, 0 },
        { 2000, 0, REPLY_BAD, 0, 0 },
};

/* Much text, of which it keeps as much as it promises. */
START_TEST(is_bounded) {
        size_t n_line = floods[_i].n_line, n = (n_line + 6) * floods[_i].n_lines;
        char *wire = malloc(n + 1);
        struct heard h, slowly;

        for (size_t i = 0; i < floods[_i].n_lines; i++) {
                char *line = wire + i * (n_line + 6);

                memcpy(line, i + 1 < floods[_i].n_lines ? "250-" : "250 ", 4);
                memset(line + 4, 'x', n_line);
                memcpy(line + 4 + n_line, "\r\n", 2);
        }
        h = hear(wire, n, n);
        slowly = hear(wire, n, 1);
        free(wire);
        ck_assert_int_eq(h.status, floods[_i].status);
        ck_assert_int_eq(slowly.status, floods[_i].status);
        ck_assert_uint_eq(slowly.used, h.used);
        if (h.status != REPLY_DONE)
                return;
        ck_assert_uint_eq(h.used, n);
        ck_assert_uint_eq(strlen(h.reply.text), floods[_i].kept_octets);
        ck_assert_uint_eq(count(h.reply.text, '\n') + 1, floods[_i].kept_lines);
        ck_assert_str_eq(slowly.reply.text, h.reply.text);
}
END_TEST

/* A NUL is noticed wherever it is, also in what is not kept. */
START_TEST(notices_nul) {
        char wire[4000];

        for (size_t at = 4; at < sizeof(wire) - 2; at += 37) {
                memset(wire, 'x', sizeof(wire));
                memcpy(wire, "250 ", 4);
                memcpy(wire + sizeof(wire) - 2, "\r\n", 2);
                wire[at] = '\0';
                for (size_t piece = 1; piece <= sizeof(wire); piece += 1333)
                        ck_assert_int_eq(hear(wire, sizeof(wire), piece).status, REPLY_BAD);
        }
}
END_TEST

/* --- one line --------------------------------------------------------------------------------- */

static const struct {
        const char *line;
        size_t n;
        bool is_reply;
        struct reply reply;
} lines[] = {
        { TEXT("250 2.0.0 OK"), true, { 250, "2.0.0", "OK" } },
        { TEXT("250 OK"), true, { 250, "", "OK" } },
        { TEXT("250 2.0.0"), true, { 250, "2.0.0", "" } },
        { TEXT("250 "), true, { 250, "", "" } },
        { TEXT("250"), true, { 250, "", "" } },
        { TEXT("550 5.1.1 a\tb\r"), true, { 550, "5.1.1", "a?b?" } },
        { TEXT("550 2.1.1 a"), true, { 550, "", "a" } },
        { TEXT(""), false, { 0 } },
        { TEXT("25"), false, { 0 } },
        { TEXT("OK"), false, { 0 } },
        { TEXT("2500"), false, { 0 } },
        { TEXT("250OK"), false, { 0 } },
        { TEXT("250-OK"), false, { 0 } },
        { TEXT("100 a"), false, { 0 } },
        { TEXT("600 a"), false, { 0 } },
        { TEXT("250 a\0b"), false, { 0 } },
        { TEXT("\0"), false, { 0 } },
        { TEXT(" 250 a"), false, { 0 } },
};

START_TEST(parses_line) {
        struct reply r;
        char buffer[32], *line = unit_copy(buffer, sizeof(buffer), lines[_i].line, lines[_i].n);

        memset(&r, 'z', sizeof(r));
        ck_assert_int_eq(reply_parse_line(line, lines[_i].n, &r), lines[_i].is_reply);
        if (!lines[_i].is_reply)
                return;
        ck_assert_int_eq(r.code, lines[_i].reply.code);
        ck_assert_str_eq(r.enhanced, lines[_i].reply.enhanced);
        ck_assert_str_eq(r.text, lines[_i].reply.text);
}
END_TEST

START_TEST(bounds_line) {
        char line[1100] = "250 2.0.0 ";
        struct reply r;

        memset(line + 10, 'x', sizeof(line) - 10);
        ck_assert(reply_parse_line(line, 509, &r));
        ck_assert_uint_eq(strlen(r.text), 499);
        ck_assert(reply_parse_line(line, 510, &r));
        ck_assert_uint_eq(strlen(r.text), 500);
        ck_assert(reply_parse_line(line, sizeof(line), &r));
        ck_assert_uint_eq(strlen(r.text), 500);
}
END_TEST

/* --- laws ------------------------------------------------------------------------------------- */

/* parse(format(r)) = r, in pieces of any size, for all that is not an enhanced code in the wrong
 * place. */
static void check_return(const struct reply *r) {
        char out[REPLY_WIRE_MAX + 1] = "";
        size_t n = reply_format(r, out);
        static const size_t pieces[] = { 1, 7, REPLY_WIRE_MAX };

        ck_assert_uint_eq(n, strlen(out));
        for (size_t i = 0; i < ELEMENTS(pieces); i++) {
                struct heard h = hear(out, n, pieces[i]);

                if (h.status != REPLY_DONE || h.used != n || h.reply.code != r->code ||
                    strcmp(h.reply.enhanced, r->enhanced) != 0 ||
                    strcmp(h.reply.text, r->text) != 0)
                        ck_abort_msg("in pieces of %zu: %.60s", pieces[i], out);
        }
}

static const char *const enhanced[] = { "", ".0.0", ".1.10", ".123.123" };

/* _i: which of the enhanced codes. Every text of up to four of these octets. */
START_TEST(returns) {
        static const char octets[] = "a .\n";

        for (short code = 250; code <= 550; code = (short) (code + 100))
                for (unsigned i = 0; i < 5 * 5 * 5 * 5; i++) {
                        struct reply r = { .code = code };
                        unsigned rest = i;

                        if (*enhanced[_i] && code != 350)
                                sprintf(r.enhanced, "%d%s", code / 100, enhanced[_i]);
                        for (size_t k = 0; rest > 0; rest /= 5, k++)
                                r.text[k] = octets[rest % 5 > 0 ? rest % 5 - 1 : 0];
                        check_return(&r);
                }
}
END_TEST

static const struct {
        const char *enhanced;
        size_t n_text, n_lines;
} large[] = {
        { "", 506, 1 },
        { "", 1000, 2 },
        { "", 1000, 40 },
        { "", 39, 40 },
        { "5.1.1", 500, 1 },
        { "5.123.123", 496, 1 },
        { "5.123.123", 1000, 40 },
        { "5.123.123", 39, 40 },
};

START_TEST(returns_large) {
        struct reply r = { .code = 550 };

        strcpy(r.enhanced, large[_i].enhanced);
        memset(r.text, 'x', large[_i].n_text);
        for (size_t i = 1; i < large[_i].n_lines; i++)
                r.text[i * large[_i].n_text / large[_i].n_lines] = '\n';
        check_return(&r);
}
END_TEST

/* What does not fit into 512 octets is left out, also if the lines after the first had no enhanced
 * code, which they have when we print them. */
START_TEST(cuts_lines) {
        char wire[1200] = "550-5.123.123 a\r\n550 ", out[REPLY_WIRE_MAX];
        struct reply set;
        struct heard h;
        size_t n;

        memset(wire + 21, 'x', 600);
        strcpy(wire + 621, "\r\n");
        h = hear(wire, 623, 623);
        ck_assert_int_eq(h.status, REPLY_DONE);
        n = reply_format(&h.reply, out);
        ck_assert_uint_eq(n, 17 + 512);
        ck_assert_mem_eq(out, "550-5.123.123 a\r\n550 5.123.123 x", 32);
        ck_assert_mem_eq(out + n - 3, "x\r\n", 3);
        reply_set(&set, 550, "5.1.1", "%.600s\nb\n%.300s", wire + 21, wire + 21);
        ck_assert_uint_eq(strlen(set.text), 500 + 3 + 300);
        n = reply_format(&set, out);
        ck_assert_uint_eq(n, 512 + 13 + 312);
        ck_assert_mem_eq(out + 508, "xx\r\n550-5.1.1 b\r\n550 5.1.1 x", 28);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("reply-parse");
        TCase *tcase = unit_tcase(suite, "print and parse");

        UNIT_TABLE(tcase, parses, parsed);
        UNIT_TABLE(tcase, is_bounded, floods);
        tcase_add_test(tcase, notices_nul);
        UNIT_TABLE(tcase, parses_line, lines);
        tcase_add_test(tcase, bounds_line);
        UNIT_TABLE(tcase, returns, enhanced);
        UNIT_TABLE(tcase, returns_large, large);
        tcase_add_test(tcase, cuts_lines);
        return unit_run(suite);
}
