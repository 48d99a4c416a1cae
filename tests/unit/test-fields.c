/* SPDX-License-Identifier: MIT */
/* test-fields.c - smtp/fields: which header fields of a filter's output are taken, and what is
 * wrong. */
#include "smtp/fields.h"

#include <stdint.h>

#include "unit.h"

static const struct {
        const char *text;
        size_t n;
        size_t n_reply;      /* octets of a reply at its beginning, with its end */
        size_t n_taken;      /* octets of the fields after it */
        const char *mistake; /* a part of it; NULL: there is none */
} cases[] = {
        /* fields, and what ends them */
        { TEXT(""), 0, 0, NULL },
        { TEXT("A: b\n"), 0, 5, NULL },
        { TEXT("A:\n"), 0, 3, NULL },
        { TEXT("A: b\nC: d\n"), 0, 10, NULL },
        { TEXT("A: b\n c\n\td\n"), 0, 11, NULL },
        { TEXT("!~: b\n"), 0, 6, NULL },
        { TEXT("A: \x01\x7f\xff\n"), 0, 7, NULL },
        { TEXT("A: b\n\nC: d\n"), 0, 5, NULL },
        { TEXT("A: b\n \nC: d\n"), 0, 5, NULL },
        { TEXT("A: b\n\t \t\nC: d\n"), 0, 5, NULL },
        { TEXT("A: b\nno field\nC: d\n"), 0, 5, NULL },
        { TEXT(" b\nA: b\n"), 0, 0, NULL },
        { TEXT(": b\n"), 0, 0, NULL },
        { TEXT("A : b\n"), 0, 0, NULL },
        { TEXT("A\x7f: b\n"), 0, 0, NULL },
        { TEXT("\xc3\xa4: b\n"), 0, 0, NULL },
        { TEXT("A b\n"), 0, 0, NULL },
        { TEXT("A: b\n\n\r\0"), 0, 5, NULL },

        /* after a reply */
        { TEXT("250 fine\n"), 9, 0, NULL },
        { TEXT("250 fine"), 8, 0, NULL },
        { TEXT("250 fine\r\n"), 10, 0, NULL },
        { TEXT("250 fine\nA: b\n"), 9, 5, NULL },
        { TEXT("250 fine\r\nA: b\n c\n"), 10, 8, NULL },
        { TEXT("250 fine\n c\n"), 9, 0, NULL },
        { TEXT("250 fine\rA: b\n"), 14, 0, "CR" },
        { TEXT("250 fine\r\r\nA: b\n"), 11, 0, "CR" },
        { TEXT("250 f\0ne\nA: b\n"), 9, 0, "NUL" },

        /* what is wrong */
        { TEXT("A: b\r\n"), 0, 0, "CR" },
        { TEXT("A: b\n\r\n"), 0, 0, "CR" },
        { TEXT("A: b\nC: d\re\n"), 0, 0, "CR" },
        { TEXT("A: b\nno\rfield\n"), 0, 0, "CR" },
        { TEXT("A: \0\n"), 0, 0, "NUL" },
        { TEXT("\0"), 0, 0, "NUL" },
};

static struct fields fields;

START_TEST(fields_end_at_the_first_line_that_is_none) {
        const struct printed p = { cases[_i].text, cases[_i].n, false, cases[_i].n_reply > 0 };
        const char *expected = cases[_i].mistake;
        size_t used;
        const char *mistake = fields_take(&fields, &p, &used);

        ck_assert(!mistake == !expected && (!mistake || strstr(mistake, expected)));
        ck_assert_uint_eq(fields.n, cases[_i].n_taken);
        ck_assert(memcmp(fields.text, p.text + cases[_i].n_reply, fields.n) == 0);
        if (!mistake)
                ck_assert_uint_eq(used, cases[_i].n_reply + fields.n);
}
END_TEST

/* The last line gets the end that it lacks. */
START_TEST(last_line_gets_its_end) {
        const struct printed p = { "A: b\n c", 7, false, false };
        size_t used;

        ck_assert(!fields_take(&fields, &p, &used) && used == 7);
        ck_assert(fields.n == 8 && memcmp(fields.text, "A: b\n c\n", 8) == 0);
}
END_TEST

static char text[FIELDS_MAX + FIELDS_LINE_MAX + 3];

/* A field that fills a line of n octets, at `out`; returns the octets with its end. */
static size_t put_line(char *out, size_t n) {
        memset(out, 'x', n);
        out[1] = ':';
        out[n] = '\n';
        return n + 1;
}

static bool is_taken(size_t n, bool is_cut) {
        const struct printed p = { text, n, is_cut, false };
        size_t used;
        const char *mistake = fields_take(&fields, &p, &used);

        /* an end that is missing is added */
        ck_assert(mistake ? fields.n == 0 : fields.n == used || fields.n == used + 1);
        return !mistake;
}

START_TEST(limits) {
        size_t n = 0;

        ck_assert(is_taken(put_line(text, FIELDS_LINE_MAX), false));
        ck_assert(!is_taken(put_line(text, FIELDS_LINE_MAX + 1), false));
        while (n + FIELDS_LINE_MAX + 1 <= FIELDS_MAX)
                n += put_line(text + n, FIELDS_LINE_MAX);
        if (FIELDS_MAX - n > 3)
                n += put_line(text + n, FIELDS_MAX - n - 1);
        ck_assert(n == FIELDS_MAX && is_taken(n, false) && is_taken(n - 1, false));
        ck_assert(!is_taken(n, true));
        text[n] = '\n';
        ck_assert(is_taken(n + 1, false) && is_taken(n + 2, true) && fields.n == FIELDS_MAX);
        ck_assert(!is_taken(n + put_line(text + n, 3), false));
}
END_TEST

/* Whatever is cut off, nobody knows what it would have been. */
START_TEST(what_is_cut_is_too_much) {
        static const char *const ends[] = { "A: b\n", "A: b", "A: b\nno fie", "" };

        for (size_t i = 0; i < ELEMENTS(ends); i++) {
                const struct printed p = { ends[i], strlen(ends[i]), true, false };
                size_t used;

                ck_assert(fields_take(&fields, &p, &used) && fields.n == 0);
        }
}
END_TEST

/* All short texts of these octets: what is taken is fields and nothing else, and no CR or NUL. */
START_TEST(all_short_texts) {
        static const char octets[] = { 'A', ':', ' ', '\n', '\r', '\0' };
        char all[7];

        for (size_t code = 0; code < 279936; code++) {
                size_t used, rest = code;
                const struct printed p = { all, sizeof(all), false, false };

                for (size_t i = 0; i < sizeof(all); i++, rest /= sizeof(octets))
                        all[i] = octets[rest % sizeof(octets)];
                if (fields_take(&fields, &p, &used)) {
                        ck_assert(fields.n == 0);
                        continue;
                }
                ck_assert(!memchr(fields.text, '\0', fields.n));
                ck_assert(!memchr(fields.text, '\r', fields.n));
                ck_assert(!memmem(fields.text, fields.n, "\n\n", 2));
                ck_assert(!memmem(fields.text, fields.n, "\n \n", 3));
                if (fields.n > 0)
                        ck_assert(fields.text[0] == 'A' && fields.text[fields.n - 1] == '\n');
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("fields");
        TCase *tcase = unit_tcase(suite, "fields");

        UNIT_TABLE(tcase, fields_end_at_the_first_line_that_is_none, cases);
        tcase_add_test(tcase, last_line_gets_its_end);
        tcase_add_test(tcase, limits);
        tcase_add_test(tcase, what_is_cut_is_too_much);
        tcase_add_test(tcase, all_short_texts);
        return unit_run(suite);
}
