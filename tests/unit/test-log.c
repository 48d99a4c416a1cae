/* SPDX-License-Identifier: MIT */
/* test-log.c - lines of the log: what others say is bounded as it is written, and no line is broken
 * by it. */
#include "io/log.h"
#include "unit.h"

static const struct {
        const char *value, *written; /* as log_field() has it */
} values[] = {
        { "plain", "plain" },
        { "<a@b>", "<a@b>" },
        { "", "\"\"" },
        { "two words", "\"two words\"" },
        { "a=b", "a=b" },
        { "\"", "\"\\x22\"" },
        { "\\", "\"\\x5c\"" },
        { "a\nb\r\t", "\"a\\x0ab\\x0d\\x09\"" },
        { "\xc3\xbc\x7f\xff", "\"\\xc3\\xbc\\x7f\\xff\"" },
        { "a\" verdict=\"250", "\"a\\x22 verdict=\\x22250\"" },
};

static const char *text_of(struct log_line *l) {
        ck_assert_uint_le(l->n, sizeof(l->text) - 1);
        l->text[l->n] = '\0';
        return l->text;
}

START_TEST(values_are_escaped) {
        char expected[100];
        struct log_line l;

        snprintf(expected, sizeof(expected), "smtpd: what k=%s", values[_i].written);
        log_start(&l, "what");
        log_field(&l, "k", "%s", values[_i].value);
        ck_assert_str_eq(text_of(&l), expected);
        log_start(&l, "what");
        log_chosen(&l, "k", "%s", values[_i].value);
        ck_assert_str_eq(text_of(&l), expected);
        log_start(&l, "what");
        log_said(&l, "k", "%s", values[_i].value);
        ck_assert_str_eq(text_of(&l), expected);
}
END_TEST

/* n times a word, and a last one. */
static const char *make(size_t n, const char *word, const char *last) {
        static char text[5000];

        text[0] = '\0';
        while (n-- > 0)
                strcat(text, word);
        return strcat(text, last);
}

static size_t value_length(const char *line) {
        return strlen(strstr(line, " k=") + 3);
}

static bool ends_with(const char *s, const char *end) {
        return strlen(s) >= strlen(end) && strcmp(s + strlen(s) - strlen(end), end) == 0;
}

/* Each length around the limit, of octets that take one place and of such that take four. */
START_TEST(values_are_bounded_as_written) {
        static const char *const words[] = { "a", "\n", " " };
        static const size_t places[] = { 1, 4, 1 };

        for (size_t w = 0; w < 3; w++)
                for (size_t n = 0; n < 600; n++) {
                        size_t n_escaped = n * places[w], quotes = w == 0 && n > 0 ? 0 : 2;
                        const char *value = make(n, words[w], "");
                        struct log_line l;

                        log_start(&l, "what");
                        log_chosen(&l, "k", "%s", value);
                        if (n_escaped + quotes <= LOG_CHOSEN_MAX)
                                ck_assert_uint_eq(value_length(text_of(&l)), n_escaped + quotes);
                        else {
                                ck_assert_uint_le(value_length(text_of(&l)), LOG_CHOSEN_MAX);
                                ck_assert_uint_le(LOG_CHOSEN_MAX - 3, value_length(text_of(&l)));
                                ck_assert(ends_with(text_of(&l), "...\""));
                        }
                }
}
END_TEST

START_TEST(replies_have_more_room) {
        struct log_line l;

        log_start(&l, "what");
        log_said(&l, "k", "%s", make(499, "x", " ends here!"));
        ck_assert(ends_with(text_of(&l), " ends here!\""));
        log_start(&l, "what");
        log_said(&l, "k", "%s", make(500, "x", " ends here!"));
        ck_assert_uint_eq(value_length(text_of(&l)), LOG_SAID_MAX);
        ck_assert(ends_with(text_of(&l), "...\""));
}
END_TEST

/* An escape is whole, or it is not there. */
START_TEST(escapes_are_not_cut) {
        for (size_t n = 240; n < 260; n++) {
                struct log_line l;
                const char *tail;

                log_start(&l, "what");
                log_chosen(&l, "k", "%s", make(n, "a", "\n\n\n\n\n\n"));
                tail = strchr(text_of(&l), '\\');
                for (; tail && *tail == '\\'; tail += 4)
                        ck_assert_int_eq(strncmp(tail, "\\x0a", 4), 0);
                ck_assert(!tail || strcmp(tail, "\"") == 0 || strcmp(tail, "...\"") == 0);
        }
}
END_TEST

/* However many: the line has 4,096 octets with its end, and each field that is there is whole. */
START_TEST(full_lines_are_well_formed) {
        for (size_t shift = 0; shift < 300; shift++) {
                struct log_line l;
                const char *at;

                log_start(&l, "what");
                log_field(&l, "shift", "%s", make(shift, "s", ""));
                for (int i = 0; i < 100; i++)
                        log_chosen(&l, "k", "%s", make(240, "v", " w"));
                ck_assert_uint_le(l.n, sizeof(l.text) - 1);
                at = strstr(text_of(&l), " k=\"");
                while (at && *at) {
                        ck_assert_int_eq(strncmp(at, " k=\"", 4), 0);
                        at = strchr(at + 4, '"');
                        ck_assert_ptr_nonnull(at);
                        at++;
                }
        }
}
END_TEST

START_TEST(long_words_are_cut) {
        struct log_line l;

        log_start(&l, make(4900, "w", ""));
        ck_assert_uint_eq(strlen(text_of(&l)), sizeof(l.text) - 1);
        ck_assert(ends_with(text_of(&l), "..."));
        log_field(&l, "k", "v");
        ck_assert(ends_with(text_of(&l), "..."));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("log");
        TCase *tcase = unit_tcase(suite, "log");

        UNIT_TABLE(tcase, values_are_escaped, values);
        tcase_add_test(tcase, values_are_bounded_as_written);
        tcase_add_test(tcase, replies_have_more_room);
        tcase_add_test(tcase, escapes_are_not_cut);
        tcase_add_test(tcase, full_lines_are_well_formed);
        tcase_add_test(tcase, long_words_are_cut);
        return unit_run(suite);
}
