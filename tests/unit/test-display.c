/* SPDX-License-Identifier: MIT */
/* test-display.c - base/display: what a terminal and the journal are shown. */
#include "base/display.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"

struct row {
        const char *text;
        size_t n;
        const char *shown;
        size_t n_shown;
};

#define ROW(text, shown) { text, sizeof(text) - 1, shown, sizeof(shown) - 1 }

static const struct row on_terminal[] = {
        ROW("", ""),
        ROW("plain ~text\twith a tab\n\n", "plain ~text\twith a tab\n\n"),
        ROW("\033[2J\a\b\r\n", "^[[2J^G^H^M\n"),
        ROW("\0\x01\x1f\x7f", "^@^A^_^?"),
        ROW("gr\xc3\xbc\xc3\x9f \xe2\x98\x83", "gr\xc3\xbc\xc3\x9f \xe2\x98\x83"),
        ROW("\xf0\x9f\x98\x80 \xd0\x98", "\xf0\x9f\x98\x80 \xd0\x98"),
        ROW("\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", "<U+0080><U+009b><U+009f>\xc2\xa0"), /* C1 */
        ROW("\x80 \x9b"
            "31m \x9f \xa0 \xff",
            "<80> <9b>31m <9f> \xa0 \xff"),
        ROW("\xd8\x9c\xe2\x80\x8e\xe2\x80\x8f", "<U+061c><U+200e><U+200f>"), /* bidi */
        ROW("\xe2\x80\xaa\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa9", "<U+202a><U+202e><U+2066><U+2069>"),
        ROW("\xe2\x80\xa9\xe2\x80\xaf", "\xe2\x80\xa9\xe2\x80\xaf"), /* their neighbours */
        ROW("\xe2\x81\xa5\xe2\x81\xaa", "\xe2\x81\xa5\xe2\x81\xaa"),
        ROW("\xc0\x9b \xc1\x9b", "\xc0<9b> \xc1<9b>"), /* longer than need be */
        ROW("\xe0\x82\x9b", "\xe0<82><9b>"),
        ROW("\xf0\x80\x82\x9b", "\xf0<80><82><9b>"),
        ROW("\xed\xa0\x80", "\xed\xa0<80>"), /* half of a pair */
        ROW("\xf4\x90\x80\x80 \xf5\x80", "\xf4<90><80><80> \xf5<80>"),
        ROW("\xc3\033c", "\xc3^[c"), /* cut characters */
        ROW("\xe2\x98\n", "\xe2<98>\n"),
        ROW("\xe2\x9b\xc3\xbc", "\xe2<9b>\xc3\xbc"),
        ROW("\xe2\x80", "\xe2<80>"),
        ROW("\xf0\x9f\x98", "\xf0<9f><98>"),
};

static const struct row in_journal[] = {
        ROW("", ""),
        ROW("one\ntwo\n", "<6>one\n<6>two\n"),
        ROW("\n\nafter\n", "\n\n<6>after\n"),
        ROW("<0>panic\n<7>\n", "<6><0>panic\n<6><7>\n"),
        ROW("a\0<0>panic\0\n", "<6>a\0<6><0>panic\0\n"),
        ROW("\0\0", "<6>\0<6>\0"),
        ROW("\033[31m\x9b", "<6>\033[31m\x9b"), /* journalctl(1) takes care of terminals */
};

/* In pieces: the first one, then others of the same size, and a line's end. */
static void check_pieces(enum display_kind kind, const struct row *row, size_t first, size_t size) {
        struct display d = { .kind = kind };
        char *out = malloc(DISPLAY_ROOM(row->n));
        size_t n = display_text(&d, row->text, first, out);

        for (size_t i = first; i < row->n; i += size) {
                size_t left = row->n - i;

                n += display_text(&d, row->text + i, left < size ? left : size, out + n);
        }
        n += display_text(&d, "\n", 1, out + n);
        ck_assert_uint_eq(n, row->n_shown + 1);
        ck_assert(memcmp(out, row->shown, n - 1) == 0 && out[n - 1] == '\n');
        free(out);
}

static void check(enum display_kind kind, const struct row *row) {
        for (size_t first = 0; first <= row->n; first++)
                for (size_t size = 1; size <= row->n + 1; size++)
                        check_pieces(kind, row, first, size);
}

START_TEST(terminal_obeys_nobody) {
        check(DISPLAY_TERMINAL, on_terminal + _i);
}
END_TEST

START_TEST(journal_has_our_priority) {
        check(DISPLAY_JOURNAL, in_journal + _i);
}
END_TEST

START_TEST(plain_is_as_it_came) {
        check(DISPLAY_PLAIN, &(struct row) ROW("\0<0>\033[31m\x9b\xe2", "\0<0>\033[31m\x9b\xe2"));
}
END_TEST

/* Whatever they are: the room is enough, and what is left of C0 and C1 is part of a character. */
START_TEST(any_two_octets) {
        for (unsigned pair = 0; pair < 0x10000; pair++) {
                const char text[] = { (char) (pair >> 8), (char) pair, '\n' };
                struct display d = { .kind = DISPLAY_TERMINAL };
                char out[DISPLAY_ROOM(sizeof(text))];
                size_t n = display_text(&d, text, sizeof(text), out);

                ck_assert_uint_le(n, sizeof(out));
                for (size_t i = 0; i < n; i++) {
                        unsigned char c = (unsigned char) out[i];
                        unsigned char before = i > 0 ? (unsigned char) out[i - 1] : 0;

                        ck_assert((c >= ' ' && c != 0x7f) || c == '\t' || c == '\n');
                        ck_assert(c < 0x80 || c > 0x9f || before >= 0xc3);
                }
        }
}
END_TEST

/* journald would begin a new line in it by itself. */
START_TEST(long_line_is_split) {
        static char text[3 * DISPLAY_LINE], out[DISPLAY_ROOM(sizeof(text))];
        struct display d = { .kind = DISPLAY_JOURNAL };
        size_t n;

        memset(text, '<', sizeof(text));
        text[DISPLAY_LINE] = '\n'; /* the first is as long as one may be */
        n = display_text(&d, text, sizeof(text), out);
        ck_assert_uint_eq(n, sizeof(text) + 3 * 3 + 1);
        for (size_t line = 0, length; line < n; line += length + 1) {
                length = strcspn(out + line, "\n");
                ck_assert(strncmp(out + line, "<6><", 4) == 0);
                ck_assert_uint_le(length, DISPLAY_LINE + 3);
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("display");
        TCase *tcase = unit_tcase(suite, "display");

        UNIT_TABLE(tcase, terminal_obeys_nobody, on_terminal);
        UNIT_TABLE(tcase, journal_has_our_priority, in_journal);
        tcase_add_test(tcase, plain_is_as_it_came);
        tcase_add_test(tcase, any_two_octets);
        tcase_add_test(tcase, long_line_is_split);
        return unit_run(suite);
}
