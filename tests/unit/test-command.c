/* SPDX-License-Identifier: MIT */
/* test-command.c - smtp/command: the arguments of MAIL and RCPT that are taken. */
#include "arguments.h"

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

int main(void) {
        Suite *suite = suite_create("command");
        TCase *tcase = unit_tcase(suite, "MAIL and RCPT");

        UNIT_TABLE(tcase, takes_mail, mails);
        UNIT_TABLE(tcase, takes_rcpt, rcpts);
        return unit_run(suite);
}
