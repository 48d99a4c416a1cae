/* SPDX-License-Identifier: MIT */
/* test-command-refused.c - smtp/command: the replies to arguments of MAIL and RCPT that are wrong,
 * what was understood of them, and options found. */
#include <stdio.h>

#include "arguments.h"

/* --- refused ---------------------------------------------------------------------------------- */

static const struct {
        char verb; /* M or R */
        const char *args;
        size_t n;
        int rules;
        int code;
        const char *enhanced;
} refused[] = {
        /* no path */
        { 'M', TEXT(""), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM"), 0, 501, "5.5.4" },
        { 'M', TEXT("<a@b>"), 0, 501, "5.5.4" },
        { 'M', TEXT("TO:<a@b>"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM <a@b>"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM :<a@b>"), 0, 501, "5.5.4" },
        { 'R', TEXT("FROM:<a@b>"), 0, 501, "5.5.4" },
        { 'R', TEXT("TO"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:"), 0, 501, "5.1.7" },
        { 'M', TEXT("FROM:  "), 0, 501, "5.1.7" },
        { 'R', TEXT("TO:"), 0, 501, "5.1.3" },

        /* bad paths */
        { 'M', TEXT("FROM:<a@b"), 0, 501, "5.1.7" },
        { 'M', TEXT("FROM:<a@b>>"), 0, 501, "5.1.7" },
        { 'M', TEXT("FROM:<a@b>SIZE=1"), 0, 501, "5.1.7" },
        { 'M', TEXT("FROM:a@b>"), 0, 501, "5.1.7" },
        { 'M', TEXT("FROM:<a@b>\tSIZE=1"), 0, 501, "5.1.7" },
        { 'M', TEXT("FROM:\t<a@b>"), 0, 501, "5.1.7" },
        { 'M', TEXT("FROM:a b@c"), 0, 501, "5.5.4" }, /* a path without domain, and a parameter */
        { 'M', TEXT("FROM:<a@b>\0"), 0, 501, "5.1.7" },
        { 'M', TEXT("FROM:<a>"), 0, 501, "5.1.7" },
        { 'M', TEXT("FROM:<postmaster2>"), 0, 501, "5.1.7" },
        { 'R', TEXT("TO:<>"), 0, 501, "5.1.3" },
        { 'R', TEXT("TO:<>"), AS_IT_CAME, 501, "5.1.3" },
        { 'R', TEXT("TO:<>"), QUALIFY, 501, "5.1.3" },
        { 'R', TEXT("TO:<a>"), 0, 501, "5.1.3" },
        { 'R', TEXT("TO:<postmaster2>"), 0, 501, "5.1.3" },
        { 'R', TEXT("TO:<\"postmaster\">"), 0, 501, "5.1.3" },
        { 'R', TEXT("TO:<a@b>,<c@d>"), 0, 501, "5.1.3" },

        /* UTF-8 needs its parameter */
        { 'M', TEXT("FROM:<\xc3\xa9@b>"), 0, 553, "5.6.7" },
        { 'M', TEXT("FROM:<a@\xc3\xa9>"), UTF8_SENDER, 553, "5.6.7" },
        { 'R', TEXT("TO:<\xc3\xa9@b>"), 0, 553, "5.6.7" },

        /* parameters */
        { 'M', TEXT("FROM:<a@b> SIZE=1"), HELO, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> X"), HELO, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> X"), HELO, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> X"), 0, 555, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> X=y"), 0, 555, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SIZES=1"), 0, 555, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SIZ=1"), 0, 555, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> AUTH=<>"), 0, 555, "5.5.4" },
        { 'R', TEXT("TO:<a@b> X"), 0, 555, "5.5.4" },
        { 'R', TEXT("TO:<a@b> SIZE=1"), 0, 555, "5.5.4" },
        { 'R', TEXT("TO:<a@b> NOTIFY=NEVER"), 0, 555, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> BODY=7BIT"), NO_8BIT, 555, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SMTPUTF8"), NO_UTF8, 555, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SIZE"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SIZE="), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SIZE=x"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SIZE=-1"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SIZE=+1"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SIZE=1K"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SIZE=1="), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SIZE=000000000000000000001"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SIZE=1 SIZE=1"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> BODY"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> BODY=BINARYMIME"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> BODY=7BITS"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> BODY=7BIT BODY=8BITMIME"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SMTPUTF8=yes"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> SMTPUTF8 smtputf8"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> =1"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> -X"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> X_Y"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> X=\x7f"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> X=\xc3\xa9"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> X=a\tb"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> X=a\0b"), 0, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> X\0"), 0, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> X="), 0, 501, "5.5.4" },

        { 'M', TEXT("FROM:<a@b> PRDR"), 0, 555, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> PRDR=yes"), PRDR, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> PRDR PRDR"), PRDR, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> PRDR"), PRDR, 555, "5.5.4" },

        /* those of DSN */
        { 'M', TEXT("FROM:<a@b> RET=FULL"), 0, 555, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> ENVID=x"), 0, 555, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> NOTIFY=NEVER"), DSN, 555, "5.5.4" },
        { 'R', TEXT("TO:<a@b> RET=FULL"), DSN, 555, "5.5.4" },
        { 'R', TEXT("TO:<a@b> ORCPT=rfc822;a@b"), 0, 555, "5.5.4" },
        { 'R', TEXT("TO:<a@b> NOTIFY=NEVER"), DSN | HELO, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> RET"), DSN, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> RET=BODY"), DSN, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> RET=FULL RET=FULL"), DSN, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> ENVID"), DSN, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> ENVID=a+2"), DSN, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> ENVID=a+2b"), DSN, 501, "5.5.4" },
        { 'M', TEXT("FROM:<a@b> ENVID=a+G0"), DSN, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> NOTIFY"), DSN, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> NOTIFY=,"), DSN, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> NOTIFY=DELAY,"), DSN, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> NOTIFY=NEVER,DELAY"), DSN, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> NOTIFY=DELAY,NEVER"), DSN, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> NOTIFY=ALWAYS"), DSN, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> NOTIFY=DELAY NOTIFY=DELAY"), DSN, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> ORCPT=a@b"), DSN, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> ORCPT=;a@b"), DSN, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> ORCPT=rfc822;"), DSN, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> ORCPT=r@c;a@b"), DSN, 501, "5.5.4" },
        { 'R', TEXT("TO:<a@b> ORCPT=rfc822;a+b"), DSN, 501, "5.5.4" },

        /* too big */
        { 'M', TEXT("FROM:<a@b> SIZE=1001"), MAX_1000, 552, "5.3.4" },
        /* 2^64 + 1001 */
        { 'M', TEXT("FROM:<a@b> SIZE=18446744073709552617"), MAX_1000, 552, "5.3.4" },
};

static enum command_status parse_as(char verb, const char *args, size_t n,
                                    const struct command_rules *rules, struct reply *ret) {
        struct sender s;
        struct recipient r;

        args = at_end(args, n);
        return verb == 'M' ? command_parse_mail(args, n, rules, &s, ret)
                           : command_parse_rcpt(args, n, rules, &r, ret);
}

static bool parse(char verb, const char *args, size_t n, const struct command_rules *rules,
                  struct reply *ret) {
        return parse_as(verb, args, n, rules, ret) == COMMAND_OK;
}

/* --- among the options ------------------------------------------------------------------------ */

static const struct {
        const char *options, *keyword, *found;
} options[] = {
        { "", "RET", NULL },
        { "RET=FULL", "RET", "RET=FULL" },
        { "SIZE=1 ret=hdrs ENVID=x", "RET", "ret=hdrs" },
        { "SIZE=1 ENVID=RET", "RET", NULL },
        { "RETX=1", "RET", NULL },
        { "BODY=7BIT SMTPUTF8", "SMTPUTF8", "SMTPUTF8" },
        { "SMTPUTF8 BODY=7BIT", "SMTPUTF8", "SMTPUTF8" },
};

START_TEST(finds_option) {
        const char *want = options[_i].found;
        size_t n;
        const char *found = command_find_option(options[_i].options, options[_i].keyword, &n);

        ck_assert_int_eq(found != NULL, want != NULL);
        ck_assert(!want || (n == strlen(want) && memcmp(found, want, n) == 0));
        ck_assert_int_eq(command_has_dsn(options[_i].options),
                         strcasestr(options[_i].options, "RET=") ||
                                 strstr(options[_i].options, "ENVID"));
}
END_TEST

/* Whether the address was understood. */
static const struct {
        char verb;
        const char *args;
        int rules;
        enum command_status status;
} understood[] = {
        { 'M', "FROM:<a@b>", 0, COMMAND_OK },
        { 'M', "FROM:<>", 0, COMMAND_OK },
        { 'M', "FROM:<a@b", 0, COMMAND_BAD },
        { 'M', "FROM:", 0, COMMAND_BAD },
        { 'M', "TO:<a@b>", 0, COMMAND_BAD },
        { 'M', "FROM:<a@b>X", 0, COMMAND_BAD },
        { 'M', "FROM:<a@b> X_Y", 0, COMMAND_REFUSED },
        { 'M', "FROM:<a>", 0, COMMAND_REFUSED },
        { 'M', "FROM:<a@b> SIZE=1001", MAX_1000, COMMAND_REFUSED },
        { 'R', "TO:<a@b>", 0, COMMAND_OK },
        { 'R', "TO:<a@b", 0, COMMAND_BAD },
        { 'R', "TO:<a>", AS_IT_CAME, COMMAND_OK },
        { 'R', "TO:<a>", QUALIFY, COMMAND_OK },
        { 'R', "TO:<a>", 0, COMMAND_REFUSED },
        { 'R', "TO:<a@b> X=1", 0, COMMAND_REFUSED },
        { 'R', "TO:<\xc3\xbc@b>", 0, COMMAND_REFUSED },
};

START_TEST(tells_what_was_understood) {
        struct command_rules rules = rules_of(understood[_i].rules);
        const char *args = understood[_i].args;
        struct reply r;

        ck_assert_int_eq(parse_as(understood[_i].verb, args, strlen(args), &rules, &r),
                         understood[_i].status);
}
END_TEST

START_TEST(refuses) {
        struct command_rules rules = rules_of(refused[_i].rules);
        struct reply r = { 0 };

        ck_assert(!parse(refused[_i].verb, refused[_i].args, refused[_i].n, &rules, &r));
        ck_assert_int_eq(r.code, refused[_i].code);
        ck_assert_str_eq(r.enhanced, refused[_i].enhanced);
        ck_assert_str_ne(r.text, "");
}
END_TEST

/* --- sizes ------------------------------------------------------------------------------------ */

static const struct {
        char verb;
        const char *before;
        int n_filler;
        const char *after;
        int code; /* 0: taken */
        const char *enhanced;
} sizes[] = {
        { 'M', "FROM:<", 1022, "@b>", 0, "" },
        { 'M', "FROM:<", 1023, "@b>", 501, "5.1.7" },
        { 'R', "TO:<", 1022, "@b>", 0, "" },
        { 'R', "TO:<", 1023, "@b>", 501, "5.1.3" },
        { 'M', "FROM:<a@", 63, ">", 0, "" },
        { 'M', "FROM:<a@", 64, ">", 501, "5.1.7" },
        { 'M', "FROM:<a@b> ", 1024, "", 555, "5.5.4" },
        { 'M', "FROM:<a@b> ", 1025, "", 501, "5.5.4" },
        { 'M', "FROM:<a@b> SIZE=1 ", 1017, "", 555, "5.5.4" },
        { 'M', "FROM:<a@b> SIZE=1 ", 1018, "", 501, "5.5.4" },
        { 'R', "TO:<a@b> ", 2000, "", 501, "5.5.4" },
};

START_TEST(measures) {
        struct command_rules rules = rules_of(0);
        char args[4096], filler[2048];
        struct reply r = { 0 };
        int n;

        memset(filler, 'x', sizeof(filler));
        n = snprintf(args, sizeof(args), "%s%.*s%s", sizes[_i].before, sizes[_i].n_filler, filler,
                     sizes[_i].after);
        ck_assert_int_eq(parse(sizes[_i].verb, args, (size_t) n, &rules, &r), sizes[_i].code == 0);
        ck_assert_int_eq(r.code, sizes[_i].code);
        ck_assert_str_eq(r.enhanced, sizes[_i].enhanced);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("command-refused");
        TCase *tcase = unit_tcase(suite, "MAIL and RCPT");

        UNIT_TABLE(tcase, finds_option, options);
        UNIT_TABLE(tcase, refuses, refused);
        UNIT_TABLE(tcase, tells_what_was_understood, understood);
        UNIT_TABLE(tcase, measures, sizes);
        return unit_run(suite);
}
