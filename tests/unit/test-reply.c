/* SPDX-License-Identifier: MIT */
/* test-reply.c - smtp/reply: replies built, printed, compared. */
#include "smtp/reply.h"

#include <stdint.h>
#include <stdio.h>

#include "count.h"
#include "unit.h"

/* --- building --------------------------------------------------------------------------------- */

START_TEST(is_formatted) {
        struct reply r;

        memset(&r, 'z', sizeof(r));
        reply_set(&r, 550, "5.1.1", "%s has %d\nof %c", "nobody", 7, 'x');
        ck_assert_int_eq(r.code, 550);
        ck_assert_str_eq(r.enhanced, "5.1.1");
        ck_assert_str_eq(r.text, "nobody has 7\nof x");
        reply_set(&r, 354, "", "%s", "");
        ck_assert_int_eq(r.code, 354);
        ck_assert_str_eq(r.enhanced, "");
        ck_assert_str_eq(r.text, "");
}
END_TEST

START_TEST(has_printable_octets_only) {
        for (int c = 1; c < 256; c++) {
                struct reply r;
                char want = (c >= ' ' && c <= '~') || c == '\n' ? (char) c : '?';

                reply_set(&r, 250, "", "a%cb", c);
                ck_assert_msg(r.text[1] == want && r.text[0] == 'a' && r.text[2] == 'b' &&
                                      !r.text[3],
                              "octet %d", c);
        }
}
END_TEST

static const struct {
        size_t given, kept;
} lengths[] = { { 0, 0 }, { 505, 505 }, { 506, 506 }, { 507, 506 }, { 1000, 506 }, { 5000, 506 } };

START_TEST(is_cut) {
        char text[5000];
        struct reply r;

        memset(text, 'x', sizeof(text));
        reply_set(&r, 250, "", "%.*s", (int) lengths[_i].given, text);
        ck_assert_uint_eq(strlen(r.text), lengths[_i].kept);
        ck_assert_uint_eq(strspn(r.text, "x"), lengths[_i].kept);
}
END_TEST

START_TEST(has_so_many_lines) {
        char text[101];
        struct reply r;

        memset(text, '\n', sizeof(text));
        text[_i - 1] = '\0'; /* _i lines */
        reply_set(&r, 250, "", "%s", text);
        ck_assert_uint_eq(count(r.text, '\n'),
                          (_i < REPLY_LINES_MAX ? (size_t) _i : REPLY_LINES_MAX) - 1);
        ck_assert_uint_eq(strlen(r.text), (size_t) _i - 1);
        ck_assert_uint_eq(strspn(r.text, "\n"), count(r.text, '\n'));
}
END_TEST

/* --- printing --------------------------------------------------------------------------------- */

static const struct {
        struct reply reply;
        const char *wire;
} printed[] = {
        { { 250, "", "OK" }, "250 OK\r\n" },
        { { 250, "2.0.0", "OK" }, "250 2.0.0 OK\r\n" },
        { { 250, "", "" }, "250 \r\n" },
        { { 250, "2.0.0", "" }, "250 2.0.0\r\n" },
        { { 250, "", "a\nb\nc" }, "250-a\r\n250-b\r\n250 c\r\n" },
        { { 550, "5.1.1", "a\nb" }, "550-5.1.1 a\r\n550 5.1.1 b\r\n" },
        { { 550, "5.1.1", "a\n\nb" }, "550-5.1.1 a\r\n550-5.1.1\r\n550 5.1.1 b\r\n" },
        { { 550, "5.1.1", "\n" }, "550-5.1.1\r\n550 5.1.1\r\n" },
        { { 550, "", "a\n" }, "550-a\r\n550 \r\n" },
        { { 421, "4.123.123", " -%s" }, "421 4.123.123  -%s\r\n" },
};

START_TEST(prints) {
        char out[REPLY_WIRE_MAX];
        size_t n = reply_format(&printed[_i].reply, out);

        ck_assert_uint_eq(n, strlen(printed[_i].wire));
        ck_assert_mem_eq(out, printed[_i].wire, n);
}
END_TEST

/* --- comparing -------------------------------------------------------------------------------- */

START_TEST(has_a_class) {
        for (short code = 200; code < 600; code++) {
                struct reply r = { .code = code };

                ck_assert_int_eq(reply_is_positive(&r), code / 100 == 2);
                ck_assert_int_eq(reply_is_temporary(&r), code / 100 == 4);
                ck_assert_int_eq(reply_is_permanent(&r), code / 100 == 5);
        }
}
END_TEST

static int severity(int code) {
        return code < 300 ? 0 : code < 500 ? 2 : 1;
}

/* Of all pairs of verdicts: the more severe one, the first of equals. */
START_TEST(worst_is_worst) {
        for (short i = 200; i < 600; i++)
                for (short k = 200; k < 600; k++) {
                        struct reply a = { .code = i }, b = { .code = k };

                        if (i / 100 == 3 || k / 100 == 3) /* no verdict */
                                continue;
                        if (reply_worst(&a, &b) != (severity(k) > severity(i) ? &b : &a))
                                ck_abort_msg("%d, %d", i, k);
                }
}
END_TEST

/* However many are compared, in whatever grouping. */
START_TEST(worst_is_associative) {
        static const struct reply verdicts[] = {
                { 250, "", "" }, { 251, "", "" }, { 421, "", "" },
                { 450, "", "" }, { 550, "", "" }, { 554, "", "" }
        };
        enum { N = ELEMENTS(verdicts) };

        for (size_t i = 0; i < N * N * N; i++) {
                const struct reply *a = verdicts + i % N, *b = verdicts + i / N % N,
                                   *c = verdicts + i / N / N;

                ck_assert_ptr_eq(reply_worst(a, reply_worst(b, c)),
                                 reply_worst(reply_worst(a, b), c));
                ck_assert_ptr_eq(reply_worst(a, a), a);
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("reply");
        TCase *tcase = unit_tcase(suite, "build");

        tcase_add_test(tcase, is_formatted);
        tcase_add_test(tcase, has_printable_octets_only);
        UNIT_TABLE(tcase, is_cut, lengths);
        tcase_add_loop_test(tcase, has_so_many_lines, 1, 100);
        tcase = unit_tcase(suite, "print and parse");
        UNIT_TABLE(tcase, prints, printed);
        tcase = unit_tcase(suite, "compare");
        tcase_add_test(tcase, has_a_class);
        tcase_add_test(tcase, worst_is_worst);
        tcase_add_test(tcase, worst_is_associative);
        return unit_run(suite);
}
