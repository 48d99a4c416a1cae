/* SPDX-License-Identifier: MIT */
/* test-address-grammar.c - smtp/address: the parser is compared octet by octet, and with the
 * grammar written a second time as a POSIX regular expression. */
#include <regex.h>
#include <stdio.h>

#include "path.h"

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

int main(void) {
        Suite *suite = suite_create("address-grammar");
        TCase *tcase = unit_tcase(suite, "paths");

        UNIT_TABLE(tcase, knows_every_octet, places);
        UNIT_TABLE(tcase, agrees_with_grammar, frames);
        return unit_run(suite);
}
