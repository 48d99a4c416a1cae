/* SPDX-License-Identifier: MIT */
/* test-command.c - smtp/command: the arguments of MAIL and RCPT, and the replies to those that are
 * wrong. */
#include "smtp/command.h"

#include <stdio.h>

#include "unit.h"

/* Rules that rows choose from. */
enum {
        HELO = 1,
        NO_8BIT = 4,
        NO_UTF8 = 8,
        MAX_1000 = 16,
        UTF8_SENDER = 32,
        AS_IT_CAME = 64,
        QUALIFY = 128,
        DSN = 256,
        PRDR = 512
};

static struct command_rules rules_of(int flags) {
        return (struct command_rules) {
                .is_extended = !(flags & HELO),
                .extensions = (flags & NO_8BIT ? 0U : EXTENSION_8BITMIME) |
                              (flags & NO_UTF8 ? 0U : EXTENSION_SMTPUTF8) |
                              (flags & DSN ? EXTENSION_DSN : 0U) |
                              (flags & PRDR ? EXTENSION_PRDR : 0U),
                .max_size = flags & MAX_1000 ? 1000 : 0,
                .is_smtputf8 = flags & UTF8_SENDER,
                .needs_domain = !(flags & AS_IT_CAME),
                .qualify = flags & QUALIFY ? "d.e" : NULL,
        };
}

/* --- taken ------------------------------------------------------------------------------------ */

enum { IS_8BIT = 1, IS_UTF8 = 2, IS_PRDR = 4 };

static const struct {
        const char *args;
        int rules;
        const char *address, *options;
        uint64_t size;
        int want;
} mails[] = {
        { "FROM:<a@b>", 0, "a@b", "", 0, 0 },
        { "FROM:<>", 0, "", "", 0, 0 },
        { "FROM:<a@b>", HELO, "a@b", "", 0, 0 },
        { "from:<a@b>", 0, "a@b", "", 0, 0 },
        { "FrOm:   <a@b>", 0, "a@b", "", 0, 0 },
        { "FROM:a@b", 0, "a@b", "", 0, 0 },
        { "FROM: a@b SIZE=7", 0, "a@b", "SIZE=7", 7, 0 },
        { "FROM:<@x:a@b>", 0, "a@b", "", 0, 0 },
        { "FROM:<a@b> ", 0, "a@b", "", 0, 0 },
        { "FROM:<a>", AS_IT_CAME, "a", "", 0, 0 },
        { "FROM:<a> SIZE=7", QUALIFY, "a@d.e", "SIZE=7", 7, 0 },
        { "FROM:<a@b>", QUALIFY, "a@b", "", 0, 0 },
        { "FROM:<>", QUALIFY, "", "", 0, 0 },
        { "FROM:<a@b>   ", HELO, "a@b", "", 0, 0 },

        /* parameters */
        { "FROM:<a@b> SIZE=1000", 0, "a@b", "SIZE=1000", 1000, 0 },
        { "FROM:<> size=1000", MAX_1000, "", "size=1000", 1000, 0 },
        { "FROM:<a@b> SIZE=0", MAX_1000, "a@b", "SIZE=0", 0, 0 },
        { "FROM:<a@b> SIZE=007", 0, "a@b", "SIZE=007", 7, 0 },
        { "FROM:<a@b> SIZE=18446744073709551614", 0, "a@b", "SIZE=18446744073709551614",
          UINT64_MAX - 1, 0 },
        { "FROM:<a@b> SIZE=18446744073709551615", 0, "a@b", "SIZE=18446744073709551615", UINT64_MAX,
          0 },
        { "FROM:<a@b> SIZE=18446744073709551616", 0, "a@b", "SIZE=18446744073709551616", UINT64_MAX,
          0 },
        { "FROM:<a@b> SIZE=99999999999999999999", 0, "a@b", "SIZE=99999999999999999999", UINT64_MAX,
          0 },
        { "FROM:<a@b> SIZE=00000000000000000001", 0, "a@b", "SIZE=00000000000000000001", 1, 0 },
        { "FROM:<a@b> BODY=8BITMIME", 0, "a@b", "BODY=8BITMIME", 0, IS_8BIT },
        { "FROM:<a@b> body=8bitmime", 0, "a@b", "body=8bitmime", 0, IS_8BIT },
        { "FROM:<a@b> BODY=7BIT", 0, "a@b", "BODY=7BIT", 0, 0 },
        { "FROM:<a@b> SMTPUTF8", 0, "a@b", "SMTPUTF8", 0, IS_UTF8 },
        { "FROM:<\xc3\xa9@b> smtputf8", 0, "\xc3\xa9@b", "smtputf8", 0, IS_UTF8 },
        { "FROM:<a@b>  SIZE=1   BODY=8BITMIME  SMTPUTF8  ", 0, "a@b",
          "SIZE=1 BODY=8BITMIME SMTPUTF8", 1, IS_8BIT | IS_UTF8 },
        { "FROM:<a@b> prdr SIZE=1", PRDR, "a@b", "prdr SIZE=1", 1, IS_PRDR },
        { "FROM:<a@b> RET=FULL", DSN, "a@b", "RET=FULL", 0, 0 },
        { "FROM:<a@b> ret=hdrs ENVID=+2Ba+3D", DSN, "a@b", "ret=hdrs ENVID=+2Ba+3D", 0, 0 },
        { "FROM:<\"a SIZE=9\"@b> SIZE=1", 0, "\"a SIZE=9\"@b", "SIZE=1", 1, 0 },
};

/* A copy of the arguments that ends where its memory ends. */
static const char *at_end(const char *args, size_t n) {
        static char buffer[4096];

        return unit_copy(buffer, sizeof(buffer), args, n);
}

START_TEST(takes_mail) {
        struct command_rules rules = rules_of(mails[_i].rules);
        struct sender s;
        struct reply r;
        size_t n = strlen(mails[_i].args);

        memset(&s, 1, sizeof(s)); /* it owes nothing to what was there */
        ck_assert_msg(command_parse_mail(at_end(mails[_i].args, n), n, &rules, &s, &r) ==
                              COMMAND_OK,
                      "%d %s", r.code, r.text);
        ck_assert_str_eq(s.address.text, mails[_i].address);
        ck_assert_str_eq(s.options, mails[_i].options);
        ck_assert_uint_eq(s.size, mails[_i].size);
        ck_assert_int_eq(s.is_8bit, (mails[_i].want & IS_8BIT) != 0);
        ck_assert_int_eq(s.is_smtputf8, (mails[_i].want & IS_UTF8) != 0);
        ck_assert_int_eq(s.is_prdr, (mails[_i].want & IS_PRDR) != 0);
}
END_TEST

static const struct {
        const char *args;
        int rules;
        const char *address, *options;
} rcpts[] = {
        { "TO:<a@b>", 0, "a@b", "" },
        { "TO:<a@b>", HELO, "a@b", "" },
        { "to:  <a@b>  ", 0, "a@b", "" },
        { "To:a@b", 0, "a@b", "" },
        { "TO:<@x,@y:a@b>", 0, "a@b", "" },
        { "TO:<Postmaster>", 0, "Postmaster", "" },
        { "TO:postmaster", HELO, "postmaster", "" },
        { "TO:<\"a b\"@c>", 0, "\"a b\"@c", "" },
        { "TO:<\xc3\xa9@b>", UTF8_SENDER, "\xc3\xa9@b", "" },
        { "TO:<a@b> NOTIFY=NEVER", DSN, "a@b", "NOTIFY=NEVER" },
        { "TO:<a@b> notify=delay,Success,FAILURE", DSN, "a@b", "notify=delay,Success,FAILURE" },
        { "TO:<a@b> NOTIFY=DELAY  ORCPT=rfc822;c+40d", DSN, "a@b",
          "NOTIFY=DELAY ORCPT=rfc822;c+40d" },
        { "TO:<a@b> ORCPT=utf-8;\\x{FC}@d;e", DSN, "a@b", "ORCPT=utf-8;\\x{FC}@d;e" },
};

START_TEST(takes_rcpt) {
        struct command_rules rules = rules_of(rcpts[_i].rules);
        struct recipient to;
        struct reply r;
        size_t n = strlen(rcpts[_i].args);

        memset(&to, 1, sizeof(to));
        ck_assert_msg(command_parse_rcpt(at_end(rcpts[_i].args, n), n, &rules, &to, &r) ==
                              COMMAND_OK,
                      "%d %s", r.code, r.text);
        ck_assert_str_eq(to.address.text, rcpts[_i].address);
        ck_assert_str_eq(to.options, rcpts[_i].options);
}
END_TEST

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
        Suite *suite = suite_create("command");
        TCase *tcase = unit_tcase(suite, "MAIL and RCPT");

        UNIT_TABLE(tcase, takes_mail, mails);
        UNIT_TABLE(tcase, takes_rcpt, rcpts);
        UNIT_TABLE(tcase, finds_option, options);
        UNIT_TABLE(tcase, refuses, refused);
        UNIT_TABLE(tcase, tells_what_was_understood, understood);
        UNIT_TABLE(tcase, measures, sizes);
        return unit_run(suite);
}
