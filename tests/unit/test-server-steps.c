/* SPDX-License-Identifier: MIT */
/* test-server-steps.c - smtp/server: single steps, where the limits are, what is offered, and what
 * the caller can see. */
#include "session-log.h"

/* --- more ------------------------------------------------------------------------------------- */

START_TEST(greets_before_any_input) {
        static struct session s;
        struct event e;

        start(&s, &(struct server_rules) { .hostname = "h", .is_lmtp = _i }, NULL);
        ck_assert_uint_eq(server_step(&s.server, s.log, 0, &e), 0);
        ck_assert_int_eq(e.kind, SERVER_REPLY);
        ck_assert_int_eq(e.reply->code, 220);
        ck_assert_str_eq(e.reply->text, _i ? "h LMTP smtpd" : "h ESMTP smtpd");
        for (int i = 0; i < 3; i++) {
                ck_assert_uint_eq(server_step(&s.server, s.log, 0, &e), 0);
                ck_assert_int_eq(e.kind, SERVER_MORE);
        }
}
END_TEST

static const struct {
        const char *in, *log;
} mores[] = {
        { "", "R220 M" }, /* the M before it is for the first octet */
        { "NOOP", "R220 M M" },
        { "NOOP\r\n", "R220 M R250 M" },
        { "NOOP\r\nNOOP\r\nNO", "R220 M R250 R250 M" },
        { READY "DATA\r\n", "R220 M H(c) R250 S(a@b) R250 T(d@e) R250 D R354 M" },
        { READY "DATA\r\na\r\n.\r", "R220 M H(c) R250 S(a@b) R250 T(d@e) R250 D R354 B(a|) M" },
        { READY "DATA\r\n.", "R220 M H(c) R250 S(a@b) R250 T(d@e) R250 D R354 M" },
        { "QUIT\r\n", "R220 M R221 X C" },
        { READY "BDAT 2\r\na", "R220 M H(c) R250 S(a@b) R250 T(d@e) R250 D B(a) M" },
        { "BDAT 2 LAST\r\na", "R220 M M" },
        { "BDAT 0\r\n", "R220 M R503 M" },
};

START_TEST(asks_for_more_when_all_is_said) {
        static struct session s;

        start(&s, &(struct server_rules) { 0 }, NULL);
        s.is_more_told = true;
        feed(&s, mores[_i].in, strlen(mores[_i].in), INPUT_MAX);
        ck_assert_str_eq(s.log, mores[_i].log);
}
END_TEST

/* --- lines at their longest ------------------------------------------------------------------- */

static const struct {
        const char *verb, *filler;
        size_t n_line; /* with its end */
        const char *end;
        int flags;
        const char *log;
} lines[] = {
        { "NOOP ", "x", COMMAND_MAX, "\r\n", 0, "R220 R250 R221 X C" },
        { "NOOP ", "x", COMMAND_MAX + 1, "\r\n", 0, "R220 R500 R221 X C" },
        { "NOOP ", "x", COMMAND_MAX + 2, "\r\n", 0, "R220 R500 R221 X C" },
        { "NOOP ", "x", 9000, "\r\n", 0, "R220 R500 R221 X C" },
        { "NOOP ", " ", COMMAND_MAX, "\r\n", 0, "R220 R250 R221 X C" },
        { "NOOP ", " ", COMMAND_MAX + 1, "\r\n", 0, "R220 R500 R221 X C" },
        { "NOOP ", "x", COMMAND_MAX, "\n", TRANSCRIPT, "R220 R250 R221 X C" },
        { "NOOP ", "x", COMMAND_MAX + 1, "\n", TRANSCRIPT, "R220 R500 R221 X C" },
        { "NOOP ", "x", COMMAND_MAX, "\r\n", TRANSCRIPT, "R220 R250 R221 X C" },
        { "NOOP ", "x", COMMAND_MAX + 1, "\r\n", TRANSCRIPT, "R220 R500 R221 X C" },
        { "NOOP ", "x", 9000, "\n", 0, "R220 R554 X C" },
        { "NOOP ", "x", 9000, "\r\r\n", 0, "R220 R554 X C" },
        { "NOOP ", "x", COMMAND_MAX + 1, "\rQUIT\r\n", 0, "R220 R554 X C" },
        { "", "x", COMMAND_MAX, "\r\n", 0, "R220 R500 R221 X C" },
        { "QUIT", " ", COMMAND_MAX, "\r\n", 0, "R220 R221 X C" },
        { "QUIT", " ", COMMAND_MAX + 1, "\r\n", 0, "R220 R500 R221 X C" },
        { "GET ", "/", 9000, "\r\n", 0, "R220 R554 X C" },
        { "EHLO ", "x", 5 + HELO_MAX + 2, "\r\n", 0, NULL },
        { "EHLO ", "x", 5 + HELO_MAX + 3, "\r\n", 0, "R220 R501 R221 X C" },
        { "HELO ", "x", 5 + HELO_MAX + 3, "\r\n", 0, "R220 R501 R221 X C" },
        { "EHLO ", " ", COMMAND_MAX, "\r\n", 0, "R220 R501 R221 X C" },
};

START_TEST(bounds_lines) {
        static const size_t pieces[] = { 1, 7, 1000, 2046, 2047, 2048, 2049, INPUT_MAX };
        static struct session s;
        char in[INPUT_MAX];
        size_t n_verb = strlen(lines[_i].verb), n_end = strlen(lines[_i].end), n = lines[_i].n_line;

        strcpy(in, lines[_i].verb);
        memset(in + n_verb, *lines[_i].filler, n - n_verb - n_end);
        n = (size_t) (stpcpy(stpcpy(in + n - n_end, lines[_i].end), "QUIT\r\n") - in);
        for (size_t i = 0; i < ELEMENTS(pieces); i++) {
                start(&s, &(struct server_rules) { .lf_is_line_end = lines[_i].flags & TRANSCRIPT },
                      NULL);
                feed(&s, in, n, pieces[i]);
                if (lines[_i].log)
                        ck_assert_str_eq(s.log, lines[_i].log);
                else /* the one that is taken */
                        ck_assert_uint_eq(strlen(s.server.helo), HELO_MAX);
        }
}
END_TEST

/* --- what is offered -------------------------------------------------------------------------- */

static const struct {
        const char *hello;
        bool is_lmtp;
        unsigned extensions;
        const char *text;
        const char *log; /* of MAIL with SIZE, with BODY, with SMTPUTF8 */
} offers[] = {
        { "EHLO c", false, 0, "h\nPIPELINING\nSIZE 1000\nLIMITS RCPTMAX=100\nCHUNKING\nHELP",
          "S(a@b) R250 R250 X R555s R555s" },
        { "EHLO c", false, EXTENSION_8BITMIME,
          "h\nPIPELINING\nSIZE 1000\nLIMITS RCPTMAX=100\nCHUNKING\n8BITMIME\nHELP",
          "S(a@b) R250 R250 X S(a@b) R250 R250 X R555s" },
        { "EHLO c", false, EXTENSION_ENHANCEDSTATUSCODES,
          "h\nPIPELINING\nSIZE 1000\nLIMITS RCPTMAX=100\nCHUNKING\nENHANCEDSTATUSCODES\nHELP",
          "S(a@b) R250 R250 X R555s R555s" },
        { "EHLO c", false, EXTENSION_SMTPUTF8,
          "h\nPIPELINING\nSIZE 1000\nLIMITS RCPTMAX=100\nCHUNKING\nSMTPUTF8\nHELP",
          "S(a@b) R250 R250 X R555s S(a@b) R250 R250 X" },
        { "EHLO c", false, EXTENSIONS_ALL,
          "h\nPIPELINING\nSIZE 1000\nLIMITS "
          "RCPTMAX=100\nCHUNKING\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\nDSN\nPRDR\nHELP",
          "S(a@b) R250 R250 X S(a@b) R250 R250 X S(a@b) R250 R250 X" },
        { "LHLO c", true, EXTENSIONS_ALL,
          "h\nPIPELINING\nSIZE 1000\nLIMITS "
          "RCPTMAX=100\nCHUNKING\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\nDSN\nHELP",
          "S(a@b) R250 R250 X S(a@b) R250 R250 X S(a@b) R250 R250 X" },
        { "HELO c", false, EXTENSIONS_ALL, "h", "R501s R501s R501s" },
};

/* RSET is sent, and written down, only where a transaction began. */
static void try_mail(struct session *s, const char *parameter) {
        char command[64];
        size_t n = (size_t) snprintf(command, sizeof(command), "MAIL FROM:<a@b> %s\r\n", parameter);

        feed(s, command, n, n);
        if (s->server.reply.code == 250)
                feed(s, "RSET\r\n", 6, 6);
}

START_TEST(means_what_it_offers) {
        static struct session s;
        size_t used;

        start(&s,
              &(struct server_rules) {
                      .hostname = "h", .is_lmtp = offers[_i].is_lmtp, .max_size = 1000 },
              NULL);
        step(&s, "", 0, &used);
        ck_assert_int_eq(step(&s, offers[_i].hello, strlen(offers[_i].hello), &used), SERVER_MORE);
        ck_assert_int_eq(step(&s, "\r\n", 2, &used), SERVER_HELLO);
        offer(&s.server, offers[_i].extensions, "");
        ck_assert_int_eq(step(&s, "", 0, &used), SERVER_REPLY);
        ck_assert_int_eq(s.server.reply.code, 250);
        ck_assert_str_eq(s.server.reply.text, offers[_i].text);
        s.n_log = 0;
        try_mail(&s, "SIZE=1000");
        try_mail(&s, "BODY=8BITMIME");
        try_mail(&s, "SMTPUTF8");
        ck_assert_str_eq(s.log, offers[_i].log);
}
END_TEST

/* --- how it is called ------------------------------------------------------------------------- */

static const struct {
        const char *in, *plain, *secure; /* before TLS, inside it */
        int flags;
} protocols[] = {
        { "", "SMTP", "SMTP", 0 },
        { "HELO c\r\n" MAIL, "SMTP", "SMTP", 0 },
        { "EHLO c\r\n" MAIL, "ESMTP", "ESMTPS", 0 },
        { "EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\n", "UTF8SMTP", "UTF8SMTPS", 0 },
        { "EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\nRSET\r\n", "ESMTP", "ESMTPS", 0 },
        { "LHLO c\r\n" MAIL, "LMTP", "LMTPS", LMTP },
        { "LHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\n", "UTF8LMTP", "UTF8LMTPS", LMTP },
};

START_TEST(has_a_name) {
        const struct server_rules rules = { .is_lmtp = protocols[_i].flags & LMTP,
                                            .tls = SERVER_TLS_OFFERED };
        static struct session s;
        char word[20];

        start(&s, &rules, NULL);
        feed(&s, protocols[_i].in, strlen(protocols[_i].in), INPUT_MAX);
        ck_assert_str_eq(server_protocol(&s.server), protocols[_i].plain);
        start(&s, &rules, NULL);
        server_secured(&s.server); /* from the first octet on */
        feed(&s, protocols[_i].in, strlen(protocols[_i].in), INPUT_MAX);
        ck_assert_str_eq(server_protocol(&s.server), protocols[_i].secure);
        strcpy(s.server.authenticated, "PLAIN");
        snprintf(word, sizeof(word), "%s%s", protocols[_i].secure,
                 strcmp(protocols[_i].secure, "SMTP") == 0 ? "" : "A");
        ck_assert_str_eq(server_protocol(&s.server), word);
        ck_assert_int_eq(strncmp(s.log, "R220", 4), 0);
}
END_TEST

/* --- what the caller can see ------------------------------------------------------------------ */

static const struct {
        const char *in;
        bool is_lmtp;
        const char *helo;
        bool is_extended, is_smtputf8;
        unsigned n_commands, n_errors, n_recipients;
        const char *answers;
} states[] = {
        { "", false, "", false, false, 0, 0, 0, NULL },
        { "EHLO c\r\n", false, "c", true, false, 1, 0, 0, NULL },
        { "LHLO c\r\n", true, "c", true, false, 1, 0, 0, NULL },
        { "EHLO c\r\nHELO d\r\n", false, "d", false, false, 2, 0, 0, NULL },
        { "EHLO c\r\nEHLO\r\nX\r\n", false, "c", true, false, 3, 2, 0, NULL },
        { READY TO("f@g"), false, "c", true, false, 4, 0, 2, NULL },
        { READY "DATA\r\na\r\n", false, "c", true, false, 4, 0, 1, NULL },
        { READY "DATA\r\na\r\n.\r\n", false, "c", true, false, 4, 0, 0, NULL },
        { READY "RSET\r\n", false, "c", true, false, 4, 0, 0, NULL },
        { READY "EHLO d e\r\n", false, "d e", true, false, 4, 0, 0, NULL },
        { "EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\n", false, "c", true, true, 2, 0, 0, NULL },
        { "EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\n", false, "c", true, false, 2, 1, 0, "550" },
        { READY TO("f@g"), false, "c", true, false, 4, 1, 1, "250 550" },
        { "EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\nRSET\r\n", false, "c", true, false, 3, 0, 0,
          NULL },
};

START_TEST(shows_its_state) {
        static struct session s;

        start(&s, &(struct server_rules) { .is_lmtp = states[_i].is_lmtp }, states[_i].answers);
        feed(&s, states[_i].in, strlen(states[_i].in), INPUT_MAX);
        ck_assert_str_eq(s.server.helo, states[_i].helo);
        ck_assert_int_eq(s.server.is_extended, states[_i].is_extended);
        ck_assert_int_eq(s.server.is_smtputf8, states[_i].is_smtputf8);
        ck_assert_uint_eq(s.server.n_commands, states[_i].n_commands);
        ck_assert_uint_eq(s.server.n_errors, states[_i].n_errors);
        ck_assert_uint_eq(s.server.n_recipients, states[_i].n_recipients);
}
END_TEST

/* RFC 5321 section 4.1.4: all is as it was before that command. */
START_TEST(refused_name_changes_nothing) {
        static const char refused[] = "HELO d\r\n";
        static struct session s;
        struct reply verdict;
        size_t used;

        start(&s, &(struct server_rules) { 0 }, NULL);
        feed(&s, TEXT(READY), INPUT_MAX);
        ck_assert_int_eq(step(&s, TEXT(refused), &used), SERVER_HELLO);
        reply_set(&verdict, 550, "5.7.1", "not you");
        server_answer(&s.server, &verdict);
        ck_assert_int_eq(step(&s, "", 0, &used), SERVER_REPLY);
        ck_assert_str_eq(s.server.helo, "c");
        ck_assert(s.server.is_extended && server_has_sender(&s.server));
        ck_assert_uint_eq(s.server.n_recipients, 1);
        feed(&s, TEXT("DATA\r\n"), INPUT_MAX);
        ck_assert(strstr(s.log, "R550 D R354"));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("server-steps");
        TCase *tcase = unit_tcase(suite, "steps");

        tcase_add_loop_test(tcase, greets_before_any_input, 0, 2);
        UNIT_TABLE(tcase, asks_for_more_when_all_is_said, mores);
        UNIT_TABLE(tcase, bounds_lines, lines);
        UNIT_TABLE(tcase, means_what_it_offers, offers);
        UNIT_TABLE(tcase, has_a_name, protocols);
        UNIT_TABLE(tcase, shows_its_state, states);
        tcase_add_test(tcase, refused_name_changes_nothing);
        return unit_run(suite);
}
