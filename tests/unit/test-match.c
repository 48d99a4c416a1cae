/* SPDX-License-Identifier: MIT */
/* test-match.c - smtp/match: rules, and what their patterns are like.
 *
 * With an argument it answers instead: of each line "PATTERN TAB TEXT" on standard input, whether
 * they match, as a line "1" or "0" (tests/protocol/test_match.py).
 */
#include "smtp/match.h"

#include "unit.h"

/* --- patterns --------------------------------------------------------------------------------- */

/* What is meant, without thought for time. */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as the two are long */
static bool is_meant(const char *text, const char *pattern) {
        if (*pattern == '*')
                return is_meant(text, pattern + 1) || (*text && is_meant(text + 1, pattern));
        if (*text == '\0' || *pattern == '\0')
                return *text == *pattern;
        return (*pattern == '?' || *pattern == *text) && is_meant(text + 1, pattern + 1);
}

/* The n-th text over some signs: the digits of the number. */
static char *nth_text(unsigned n, const char *signs, char *out) {
        char *at = out;

        for (; n > 0; n = (n - 1) / (unsigned) strlen(signs))
                *at++ = signs[(n - 1) % strlen(signs)];
        *at = '\0';
        return out;
}

START_TEST(short_ones) {
        char pattern[16], text[16];

        for (unsigned i = 0; i < 1365; i++)          /* 0 to 5 of 4 signs */
                for (unsigned k = 0; k < 127; k++) { /* 0 to 6 of 2 */
                        nth_text(i, "ab*?", pattern);
                        nth_text(k, "ab", text);
                        ck_assert_msg(match_is_like(text, pattern, strlen(pattern)) ==
                                              is_meant(text, pattern),
                                      "\"%s\", \"%s\"", text, pattern);
                }
}
END_TEST

static const struct {
        const char *text, *pattern;
        bool is_like;
} likes[] = {
        { "bob@example.org", "BOB@*.ORG", true },
        { "BOB@EXAMPLE.ORG", "bob@example.org", true },
        { "bob@example.org", "bob@example.com", false },
        { "", "*", true },
        { "", "?", false },
        { "<>", "<>", true },
        { "a@b", "*@*", true },
        { "<>", "*@*", false },
        { "[IPv6:::1]", "[ipv6:*]", true },
        { "a[b", "a[b", true },
        { "a\\b", "a\\b", true },
        { "ab", "a\\?", false },

        /* a character is one, however many octets it has */
        { "\xc3\xa9@b", "?@b", true },
        { "\xe2\x82\xac\xf0\x9f\x93\xa7@b", "??@b", true },
        { "\xe2\x82\xac@b", "*??@b", false },
        { "\xe2\x82\xac", "*\xac", false },
        { "\xc3\x89@b", "\xc3\xa9@b", false }, /* letters of ASCII only */
        { "\xff\xfe", "??", true },            /* no UTF-8 */
};

START_TEST(characters) {
        const char *pattern = likes[_i].pattern;

        ck_assert_int_eq(match_is_like(likes[_i].text, pattern, strlen(pattern)),
                         likes[_i].is_like);
}
END_TEST

START_TEST(only_its_octets_are_the_pattern) {
        ck_assert(match_is_like("ab", "ab*c", 2));
        ck_assert(match_is_like("", "*", 0));
}
END_TEST

/* A matcher that tries everything would need longer than the universe is old. */
START_TEST(stars_cost_little) {
        char pattern[1001], text[1025];

        for (size_t i = 0; i < sizeof(pattern) - 1; i++)
                pattern[i] = i % 2 ? '*' : 'a';
        memset(text, 'a', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        ck_assert(match_is_like(text, pattern, sizeof(pattern) - 1));
        pattern[sizeof(pattern) - 2] = 'b';
        for (int i = 0; i < 1000; i++)
                ck_assert(!match_is_like(text, pattern, sizeof(pattern) - 1));
}
END_TEST

/* --- rules ------------------------------------------------------------------------------------ */

static const struct {
        const char *text;
        enum match_step step;
        const char *pattern;
        short code; /* 0: it is no rule for a reply */
        const char *enhanced, *reply;
} replies[] = {
        { "connect 192.0.2.* 421 go away", MATCH_CONNECT, "192.0.2.*", 421, "4.7.1", "go away" },
        { "helo * 550 5.7.0 no", MATCH_HELO, "*", 550, "5.7.0", "no" },
        { "mail <> 450 x", MATCH_MAIL, "<>", 450, "4.7.1", "x" },
        { "rcpt *@old.example 550 5.1.6 moved", MATCH_RCPT, "*@old.example", 550, "5.1.6",
          "moved" },
        { "rcpt\t\t*  \t 451 4.1.999 a b", MATCH_RCPT, "*", 451, "4.1.999", "a b" },
        { "data * 599 5.1.1x", MATCH_DATA, "*", 599, "5.7.1", "5.1.1x" },
        { "message ? 400 4", MATCH_MESSAGE, "?", 400, "4.7.1", "4" },

        { .text = "" },
        { .text = "rcpt" },
        { .text = "rcpt *" },
        { .text = "rcpt * " },
        { .text = "rcpt * 550" },
        { .text = "rcpt * 550 " },
        { .text = "rcpt * 550 5.1.1" },
        { .text = "rcpt * 550  two" },
        { .text = "rcpt * 550-more" },
        { .text = "rcpt * 550 4.1.1 contradicts itself" },
        { .text = "rcpt * 250 yes" },
        { .text = "rcpt * 354 go on" },
        { .text = "rcpt * 600 what" },
        { .text = "rcpt * 55 what" },
        { .text = "rcpt * 5500 what" },
        { .text = "rcpt * no 550" },
        { .text = "rcpt * 550 a\tb" },
        { .text = "rcpt * 550 \xc3\xa9" },
        { .text = "RCPT * 550 no" },
        { .text = "rcp * 550 no" },
        { .text = "rcptx * 550 no" },
        { .text = " rcpt * 550 no" },
        { .text = "end * 550 no" },
};

static bool read_reply(const char *text, struct match_rule *ret_rule, struct reply *ret) {
        return match_read(text, ret_rule) && match_read_reply(ret_rule, ret);
}

START_TEST(rule_for_a_reply) {
        struct match_rule rule;
        struct reply r;

        memset(&r, 1, sizeof(r));
        ck_assert_int_eq(read_reply(replies[_i].text, &rule, &r), replies[_i].code > 0);
        if (replies[_i].code == 0)
                return;
        ck_assert_int_eq(rule.step, replies[_i].step);
        ck_assert_uint_eq(rule.n_pattern, strlen(replies[_i].pattern));
        ck_assert_mem_eq(rule.pattern, replies[_i].pattern, rule.n_pattern);
        ck_assert_int_eq(r.code, replies[_i].code);
        ck_assert_str_eq(r.enhanced, replies[_i].enhanced);
        ck_assert_str_eq(r.text, replies[_i].reply);
        ck_assert_str_eq(reply_author(&r), "rule");
}
END_TEST

/* What is taken goes over the wire whole. */
START_TEST(longest_reply) {
        char text[REPLY_WIRE_MAX] = "rcpt * 550 ", wire[REPLY_WIRE_MAX];
        size_t n = strlen(text), n_longest = REPLY_LINE_MAX - strlen("550 5.7.1 ");
        struct match_rule rule;
        struct reply r;

        memset(text + n, 'x', n_longest);
        ck_assert(read_reply(text, &rule, &r));
        ck_assert_uint_eq(reply_format(&r, wire), REPLY_LINE_MAX + 2);
        text[n + n_longest] = 'x';
        ck_assert(!read_reply(text, &rule, &r));
}
END_TEST

static const struct {
        const char *text;
        uint64_t seconds; /* 0: it is no rule for a delay */
} delays[] = {
        { "message * 5", 5 },     { "rcpt bob@* 007", 7 },
        { "connect * 100", 100 }, { "connect * 101", 0 },
        { "connect * 0", 0 },     { "connect * -1", 0 },
        { "connect * 1.5", 0 },   { "connect * 5s", 0 },
        { "connect * 5 5", 0 },   { "connect * 18446744073709551617", 0 },
        { "connect *", 0 },
};

START_TEST(rule_for_a_delay) {
        struct match_rule rule;
        uint64_t seconds = 0;
        bool is_rule =
                match_read(delays[_i].text, &rule) && match_read_seconds(&rule, 100, &seconds);

        ck_assert_int_eq(is_rule, delays[_i].seconds > 0);
        if (is_rule)
                ck_assert_uint_eq(seconds, delays[_i].seconds);
}
END_TEST

/* --- standard input --------------------------------------------------------------------------- */

static int answer(void) {
        char *line = NULL;
        size_t room = 0;
        ssize_t n;

        while ((n = getline(&line, &room, stdin)) > 0) {
                char *tab = memchr(line, '\t', (size_t) n);

                line[n - 1] = '\0';
                printf("%d\n", tab && match_is_like(tab + 1, line, (size_t) (tab - line)));
        }
        free(line);
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv) {
        Suite *suite = suite_create("match");
        TCase *pattern = unit_tcase(suite, "pattern"), *rule = unit_tcase(suite, "rule");

        (void) argv;
        if (argc > 1)
                return answer();
        tcase_add_test(pattern, short_ones);
        tcase_add_test(pattern, only_its_octets_are_the_pattern);
        tcase_add_test(pattern, stars_cost_little);
        UNIT_TABLE(pattern, characters, likes);
        UNIT_TABLE(rule, rule_for_a_reply, replies);
        UNIT_TABLE(rule, rule_for_a_delay, delays);
        tcase_add_test(rule, longest_reply);
        return unit_run(suite);
}
