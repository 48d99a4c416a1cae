/* SPDX-License-Identifier: MIT */
/* test-server.c - smtp/server: which events come, in which order, and where the limits are.
 *
 * A session is written down as one line of words, one for each event:
 *
 *      R250      SERVER_REPLY, its code; "s", "r", "m" after it: our refusal of the sender, the
 *                recipient, the message
 *                                                B(text)  SERVER_BODY, as one however it came; "|"
 * is an LF H(name)   SERVER_HELLO                    E0:5     SERVER_END, its index and the size of
 * the message S(address), T(address)  sender, recipient          D  DATA   X  RESET   C  CLOSE L
 * TLS   Z  SECURE                        A(line)  AUTH, and lines of its exchange
 *
 * SERVER_MORE is written (as M) only where a test asks for it: where it comes depends on how the
 * input was cut.
 */
#include "smtp/server.h"

#include <stdarg.h>
#include <stdio.h>

#include "unit.h"

enum { INPUT_MAX = 10000, STEPS_MAX = 20000 };

struct session {
        struct server server;
        /* codes of the verdicts to come, with blanks between; then 250, and 354 to DATA */
        const char *answers;
        bool is_body_told, is_more_told;
        size_t n_log;
        bool is_in_body;
        char log[INPUT_MAX];
};

/* --- keeping the log -------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void note(struct session *s, const char *format, ...) {
        va_list ap;

        if (s->n_log > 0)
                s->log[s->n_log++] = ' ';
        va_start(ap, format);
        s->n_log += (size_t) vsnprintf(s->log + s->n_log, sizeof(s->log) - s->n_log, format, ap);
        va_end(ap);
}

static void note_body(struct session *s, const struct event *e) {
        if (!s->is_body_told)
                return;
        if (s->is_in_body)
                s->n_log--; /* the parenthesis */
        else
                note(s, "B(");
        for (size_t i = 0; i < e->n; i++)
                s->log[s->n_log++] = e->data[i] == '\n' ? '|' : e->data[i];
        strcpy(s->log + s->n_log++, ")");
}

/* With whom it refuses. */
static void note_reply(struct session *s, const struct event *e) {
        static const char *const refused[] = { "", "s", "r", "m" };

        note(s, "R%d%s", e->reply->code, refused[e->refused]);
}

static void note_event(struct session *s, const struct event *e) {
        switch (e->kind) {
        case SERVER_HELLO: note(s, "H(%s)", e->hello->name); break;
        case SERVER_SENDER: note(s, "S(%s)", e->sender->address.text); break;
        case SERVER_RECIPIENT: note(s, "T(%s)", e->recipient->address.text); break;
        case SERVER_DATA: note(s, "D"); break;
        case SERVER_BODY: note_body(s, e); break;
        case SERVER_REPLY: note_reply(s, e); break;
        case SERVER_END: note(s, "E%zu:%llu", e->n, (unsigned long long) s->server.size); break;
        case SERVER_RESET: note(s, "X"); break;
        case SERVER_CLOSE: note(s, "C"); break;
        case SERVER_TLS: note(s, "L"); break;
        case SERVER_SECURE: note(s, "Z"); break;
        case SERVER_AUTH: note(s, "A(%.*s)", (int) e->n, e->data); break;
        case SERVER_COLLECT: ck_abort_msg("nothing is deferred here"); break;
        case SERVER_MORE:
                if (s->is_more_told)
                        note(s, "M");
                return;
        default: ck_abort_msg("no such event: %d", (int) e->kind);
        }
        s->is_in_body = e->kind == SERVER_BODY;
}

/* --- being the caller ------------------------------------------------------------------------- */

static int next_answer(struct session *s, int otherwise) {
        char *end;
        long code = s->answers ? strtol(s->answers, &end, 10) : 0;

        if (code == 0)
                return otherwise;
        s->answers = end;
        return (int) code;
}

static void offer(struct server *s, unsigned extensions, const char *mechanisms) {
        const struct offer o = { extensions, s->rules.max_size, s->rules.max_recipients };

        server_offer(s, &o, mechanisms);
}

static void answer(struct session *s, enum event_kind question) {
        struct reply verdict;

        if (question == SERVER_HELLO)
                offer(&s->server, s->server.rules.extensions, "PLAIN LOGIN");
        else if (question == SERVER_SENDER || question == SERVER_RECIPIENT ||
                 question == SERVER_DATA || question == SERVER_END) {
                reply_set(&verdict, next_answer(s, question == SERVER_DATA ? 354 : 250), "",
                          "verdict");
                server_answer(&s->server, &verdict);
        } else if (question == SERVER_TLS || question == SERVER_AUTH) {
                reply_set(&verdict, next_answer(s, question == SERVER_TLS ? 220 : 235), "",
                          "verdict");
                server_answer(&s->server, &verdict);
        } else if (question == SERVER_SECURE)
                server_secured(&s->server);
}

/* One step, with octets that end where their memory ends. It must leave alone those it did not use.
 */
static enum event_kind step(struct session *s, const char *in, size_t n, size_t *used) {
        static char buffer[INPUT_MAX];
        struct event e = { 0 };
        char *copy = unit_copy(buffer, sizeof(buffer), in, n);

        *used = server_step(&s->server, copy, n, &e);
        if (*used > n || memcmp(copy + *used, in + *used, n - *used) != 0)
                ck_abort_msg("used %zu of %zu, or changed more", *used, n);
        if (e.kind == SERVER_BODY && (e.n == 0 || e.data < copy || e.data + e.n > copy + *used) &&
            !(s->server.chunk.is_last && strcmp(e.data, "\n") == 0))
                ck_abort_msg("text is not in the input");
        if (e.kind == SERVER_MORE && *used < n)
                ck_abort_msg("asks for more with octets left");
        if (e.kind == SERVER_TLS && (*used == 0 || in[*used - 1] != '\n'))
                ck_abort_msg("uses octets after STARTTLS");
        if (e.kind == SERVER_SECURE && *used > 0)
                ck_abort_msg("uses octets before TLS");
        note_event(s, &e);
        return e.kind;
}

/* Feeds the input in pieces of `piece` octets until it is used up, or the session is over. */
static void feed(struct session *s, const char *in, size_t n, size_t piece) {
        size_t at = 0, end = 0, used;

        for (int steps = 0; steps < STEPS_MAX; steps++) {
                enum event_kind kind = step(s, in + at, end - at, &used);

                at += used;
                answer(s, kind);
                if (kind == SERVER_CLOSE || (kind == SERVER_MORE && end == n))
                        return;
                if (kind == SERVER_MORE)
                        end = n - end < piece ? n : end + piece;
        }
        ck_abort_msg("it never ends: %.100s", s->log);
}

static void start(struct session *s, const struct server_rules *rules, const char *answers) {
        struct server_rules r = *rules;

        r.hostname = r.hostname ? r.hostname : "host.example";
        r.extensions = r.extensions ? r.extensions : EXTENSIONS_LOCAL;
        r.max_recipients = r.max_recipients ? r.max_recipients : 100;
        r.max_commands = r.max_commands ? r.max_commands : 1000;
        r.max_errors = r.max_errors ? r.max_errors : 20;
        memset(s, 'z', sizeof(*s)); /* it owes nothing to what was there */
        server_init(&s->server, &r);
        s->answers = answers;
        s->is_body_told = true;
        s->is_more_told = s->is_in_body = false;
        s->n_log = 0;
        s->log[0] = '\0';
}

/* --- sessions --------------------------------------------------------------------------------- */

#define TO(address) "RCPT TO:<" address ">\r\n"
#define MAIL "MAIL FROM:<a@b>\r\n"
#define ENVELOPE MAIL TO("d@e")
#define READY "EHLO c\r\n" ENVELOPE /* for DATA */
#define READY_LOG "R220 H(c) R250 S(a@b) R250 T(d@e) R250"

enum {
        LMTP = 1,
        TRANSCRIPT = 2, /* LF ends lines too */
        /* how much of a message that goes nowhere is shown depends on how it is cut */
        LOST_BODY = 4,
};

static const struct {
        const char *in;
        size_t n;
        const char *log;
        int flags;
        const char *answers;
        struct server_rules rules; /* 0: something generous */
} sessions[] = {
        /* the usual */
        { TEXT(""), .log = "R220" },
        { TEXT("QUIT\r\n"), .log = "R220 R221 X C" },
        { TEXT("QUIT\r\nNOOP\r\n"), .log = "R220 R221 X C" },
        { TEXT(READY "DATA\r\na\r\n..b\r\n.\r\nQUIT\r\n"),
          .log = READY_LOG " D R354 B(a|.b|) E0:7 R250 X R221 X C" },
        { TEXT(READY "DATA\r\n.\r\n"), .log = READY_LOG " D R354 E0:0 R250 X" },
        { TEXT(READY "DATA\r\n.\r\n" ENVELOPE "DATA\r\na\r\n.\r\n"),
          .log = READY_LOG " D R354 E0:0 R250 X S(a@b) R250 T(d@e) R250 D R354 B(a|) E0:3 R250 X" },
        { TEXT(READY "DATA\r\na\r\n.\r\n"), .log = READY_LOG " D R354 B(a|) E0:3 R550 X",
          .answers = "250 250 354 550" },
        { TEXT(READY "DATA\r\na\r\n.\r\nDATA\r\n"),
          .log = READY_LOG " D R354 B(a|) E0:3 R250 X R503" },
        { TEXT(READY "DATA\r\nQUIT\r\n.\r\n"), .log = READY_LOG " D R354 B(QUIT|) E0:6 R250 X" },
        { TEXT("EHLO c\r\nMAIL FROM:<>\r\n" TO("postmaster")),
          .log = "R220 H(c) R250 S() R250 T(postmaster) R250" },

        /* verbs */
        { TEXT("noop\r\nNoOp x y\r\nNOOP \t \r\n"), .log = "R220 R250 R250 R250" },
        { TEXT("NOOPX\r\nNOO\r\n NOOP\r\n\r\n"), .log = "R220 R500 R500 R500 R500" },
        { TEXT("NOOP\0\r\nQUIT\0\r\n\0\r\n"), .log = "R220 R500 R500 R500" },
        { TEXT("NOOP \0\r\nVRFY a\0b\r\nNOOP\r\n"), .log = "R220 R500 R500 R250" },
        { TEXT("QUIT x\r\nRSET x\r\n"), .log = "R220 R501 R501" },
        { TEXT("VRFY\r\nVRFY a\r\nEXPN\r\nEXPN a\r\nHELP\r\nHELP x\r\n"),
          .log = "R220 R501 R252 R502 R502 R214 R214" },
        { TEXT("EHLO\r\nHELO  \r\nEHLO  c\r\nHELO d\r\n"),
          .log = "R220 R501 R501 H(c) R250 H(d) R250" },
        { TEXT("EHLO c\x01\r\nEHLO c\x7f\r\nEHLO c\td\r\nEHLO \xc3\xa9\r\n"),
          .log = "R220 R501 R501 R501 H(\xc3\xa9) R250" },
        { TEXT("LHLO c\r\n"), .log = "R220 R500" },
        { TEXT("HELO c\r\nEHLO c\r\nLHLO c\r\n"), .log = "R220 R500 R500 H(c) R250",
          .flags = LMTP },

        /* order, judged before syntax */
        { TEXT(MAIL TO("d@e") "DATA\r\n"), .log = "R220 R503 R503 R503" },
        { TEXT("MAIL nonsense\r\nRCPT nonsense\r\nDATA nonsense\r\n"),
          .log = "R220 R503 R503 R503" },
        { TEXT("EHLO c\r\n" TO("d@e") "DATA\r\n" MAIL "DATA\r\n" MAIL "MAIL\r\n"),
          .log = "R220 H(c) R250 R503 R503 S(a@b) R250 R503 R503 R503" },
        { TEXT("EHLO c\r\nMAIL nonsense\r\n" MAIL "RCPT nonsense\r\n"),
          .log = "R220 H(c) R250 R501 S(a@b) R250 R501" },
        { TEXT("HELO c\r\nMAIL FROM:<a@b> SIZE=1\r\n" MAIL),
          .log = "R220 H(c) R250 R501s S(a@b) R250" },

        /* the end of a transaction */
        { TEXT("RSET\r\n"), .log = "R220 R250 X" },
        { TEXT(READY "RSET\r\nDATA\r\n" MAIL), .log = READY_LOG " R250 X R503 S(a@b) R250" },
        { TEXT(READY "EHLO x\r\nDATA\r\n" MAIL), .log = READY_LOG " H(x) R250 R503 S(a@b) R250" },
        { TEXT(READY "HELO x\r\n" TO("d@e")), .log = READY_LOG " H(x) R250 R503" },
        { TEXT(READY "EHLO\r\nEHLO \x01\r\nNOOP\r\nDATA\r\n.\r\n"),
          .log = READY_LOG " R501 R501 R250 D R354 E0:0 R250 X" },
        { TEXT(READY "QUIT\r\n"), .log = READY_LOG " R221 X C" },

        /* verdicts */
        { TEXT("EHLO c\r\n" ENVELOPE MAIL), .log = "R220 H(c) R250 S(a@b) R550 R503 S(a@b) R250",
          .answers = "550" },
        { TEXT("EHLO c\r\n" ENVELOPE), .log = "R220 H(c) R250 S(a@b) R451 R503", .answers = "451" },
        { TEXT(READY "DATA\r\n" TO("f@g") "DATA\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R550 R503 T(f@g) R251 D R354",
          .answers = "250 550 251" },
        { TEXT("EHLO c\r\n" MAIL "NOOP\r\n"), .log = "R220 H(c) R250 S(a@b) R421 X C",
          .answers = "421" },
        { TEXT(READY "NOOP\r\n"), .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R421 X C",
          .answers = "250 421" },
        { TEXT(READY "DATA\r\na\r\n.\r\n"), .log = READY_LOG " D R421 X C",
          .answers = "250 250 421" },
        { TEXT(READY "DATA\r\na\r\n.\r\nNOOP\r\n"), .log = READY_LOG " D R354 B(a|) E0:3 R421 X C",
          .answers = "250 250 354 421" },

        /* LMTP: a verdict for each accepted recipient */
        { TEXT("LHLO c\r\n" MAIL TO("d@e") TO("f@g") TO("h@i") "DATA\r\na\r\n.\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 T(f@g) R550 T(h@i) R250 D R354 B(a|) "
                 "E0:3 R250 E1:3 R452 X R250",
          .flags = LMTP, .answers = "250 250 550 250 354 250 452" },
        { TEXT("LHLO c\r\n" ENVELOPE "DATA\r\n.\r\n" MAIL TO("d@e") TO("f@g") "DATA\r\n.\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 D R354 E0:0 R250 X "
                 "S(a@b) R250 T(d@e) R250 T(f@g) R250 D R354 E0:0 R250 E1:0 R250 X",
          .flags = LMTP },
        { TEXT("LHLO c\r\n" MAIL TO("d@e") TO("f@g") "DATA\r\n.\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 T(f@g) R250 D R354 E0:0 R421 E1:0 R250 X "
                 "C",
          .flags = LMTP, .answers = "250 250 250 354 421" },
        { TEXT("LHLO c\r\n" MAIL TO("d@e") TO("f@g") "DATA\r\nabcd\r\n.\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 T(f@g) R250 D R354 R552m R552 X R250",
          .flags = LMTP | LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT("EHLO c\r\n" MAIL TO("d@e") TO("f@g") "DATA\r\n.\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 T(f@g) R250 D R354 E0:0 R250 X" },

        /* where a refused client may go on with its message */
        { TEXT(READY "DATA\r\nNOOP\r\n" TO("d@e") MAIL),
          .log = READY_LOG " D R451 X R250 R503 S(a@b) R250", .answers = "250 250 451" },
        { TEXT(READY "DATA x\r\nDATA\r\n"), .log = READY_LOG " R501 R554 X C" },
        { TEXT(READY "DATA\t\r\n"), .log = READY_LOG " D R354" },

        /* chunks: DATA is asked for once, and a chunk that is lost ends its transaction */
        { TEXT("BDAT 4 LAST\r\nNOOPNOOP\r\n"), .log = "R220 R503 R250" },
        { TEXT("BDAT 4x LAST\r\nNOOP"), .log = "R220 R501 X C" },
        { TEXT(READY "BDAT 3\r\na\r\nBDAT 0\r\nBDAT 4 LAST\r\n..\r\nQUIT\r\n"),
          .log = READY_LOG " D B(a|) R250 R250 B(..|) E0:7 R250 X R221 X C" },
        { TEXT(READY "BDAT 3\r\na\r\n"), .log = READY_LOG " D B(a|) R250" },
        { TEXT(READY "BDAT 6 LAST\r\n.\r\nQUI"), .log = READY_LOG " D B(.|QUI|) E0:8 R250 X" },
        { TEXT(READY "BDAT 2\r\na\rBDAT 1 LAST\r\n\nNOOP\r\n"),
          .log = READY_LOG " D B(a) R250 B(|) E0:3 R250 X R250" },
        { TEXT(READY "BDAT 0 LAST\r\nNOOP\r\n"), .log = READY_LOG " D E0:0 R250 X R250" },
        { TEXT(READY "BDAT 2\r\na\nBDAT 6\r\nQUIT\r\nNOOP\r\n" MAIL),
          .log = READY_LOG " D R554m X R503 R250 S(a@b) R250", .flags = LOST_BODY },
        { TEXT(READY "BDAT 2\r\na\rBDAT 0 LAST\r\nNOOP\r\n"),
          .log = READY_LOG " D B(a) R250 R554m X R250" },
        { TEXT(READY "BDAT 2 LAST\r\na\rNOOP\r\n"), .log = READY_LOG " D B(a) R554m X R250" },
        { TEXT(READY "BDAT 4\r\nNOOPBDAT 4 LAST\r\nRSETNOOP\r\n"),
          .log = READY_LOG " D R451 X R503 R250", .answers = "250 250 451" },
        { TEXT(READY "BDAT 4\r\nNOOPNOOP\r\n"), .log = READY_LOG " D R421 X C",
          .answers = "250 250 421" },
        { TEXT("EHLO c\r\n" ENVELOPE "BDAT 4\r\nNOOP" TO("f@g") "BDAT 4 LAST\r\nRSETNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R550 R503 X R503 R503 R250",
          .answers = "250 550" },
        { TEXT(READY "BDAT 3\r\na\r\n" TO("f@g") "DATA\r\nBDAT 0\r\n"),
          .log = READY_LOG " D B(a|) R250 R503 R503 R554 X C" },
        { TEXT(READY "BDAT 3\r\na\r\nRSET\r\nBDAT 4\r\nNOOP" ENVELOPE "DATA\r\n..\r\n.\r\n"),
          .log = READY_LOG
          " D B(a|) R250 R250 X R503 S(a@b) R250 T(d@e) R250 D R354 B(.|) E0:3 R250 X" },
        { TEXT(READY "BDAT 4 LAST\r\na\n.\n"), .log = READY_LOG " D B(a|.|) E0:6 R250 X",
          .flags = TRANSCRIPT },
        { TEXT(READY "BDAT 3\r\na\r\nBDAT 3\r\nb\r\nBDAT 4\r\nNOOPNOOP\r\n"),
          .log = READY_LOG " D R250 R552m X R503 R250", .flags = LOST_BODY,
          .rules = { .max_size = 5 } },
        { TEXT(READY "BDAT 4 LAST\r\nabcdNOOP\r\n"), .log = READY_LOG " D R552m X R250",
          .flags = LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT(READY "BDAT 8\r\nabcdef\n\nNOOP\r\n"), .log = READY_LOG " D R554m X R250",
          .flags = LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT("LHLO c\r\n" MAIL TO("d@e") TO("f@g") "BDAT 1\r\naBDAT 0 LAST\r\n" MAIL TO("d@e")
                       TO("f@g") "BDAT 1 LAST\r\n\nNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 T(f@g) R250 D B(a) R250 B(|) E0:3 R250 "
                 "E1:3 R250 X "
                 "S(a@b) R250 T(d@e) R250 T(f@g) R250 D R554m R554 X R250",
          .flags = LMTP },
        { TEXT("EHLO c\r\nBDAT 1\r\naBDAT 1\r\naBDAT 1\r\naNOOP\r\n"),
          .log = "R220 H(c) R250 R503 R503 R421 X C", .rules = { .max_errors = 2 } },
        { TEXT(READY "BDAT 0\r\nBDAT 0\r\n"), .log = READY_LOG " D R250 R421 X C",
          .rules = { .max_commands = 4 } },

        /* SMTPUTF8 is one transaction's */
        { TEXT("EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\n" TO("\xc3\xa9@e") "RSET\r\n" MAIL TO(
                  "\xc3\xa9@e")),
          .log = "R220 H(c) R250 S(a@b) R250 T(\xc3\xa9@e) R250 R250 X S(a@b) R250 R553r" },
        { TEXT("EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\n" TO("d@e") "DATA\r\n.\r\n" MAIL TO(
                  "\xc3\xa9@e")),
          .log = READY_LOG " D R354 E0:0 R250 X S(a@b) R250 R553r" },
        { TEXT("EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\n" MAIL TO("\xc3\xa9@e")),
          .log = "R220 H(c) R250 S(a@b) R550 S(a@b) R250 R553r", .answers = "550" },
        { TEXT("EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\nEHLO c\r\n" MAIL TO("\xc3\xa9@e")),
          .log = "R220 H(c) R250 S(a@b) R250 H(c) R250 S(a@b) R250 R553r" },

        /* line ends */
        { TEXT("NOOP\nNOOP\r\n"), .log = "R220 R554 X C" },
        { TEXT("\n"), .log = "R220 R554 X C" },
        { TEXT("NO\rOP\r\nNOOP\r\n"), .log = "R220 R554 X C" },
        { TEXT("NOOP\r\r\n"), .log = "R220 R554 X C" },
        { TEXT("\rNOOP\r\n"), .log = "R220 R554 X C" },
        { TEXT("NOOP\r\nNOOP\r\n\rNOOP"), .log = "R220 R250 R250 R554 X C" },
        { TEXT("NOOP\r"), .log = "R220" },
        { TEXT("NOOP\nNOOP\r\n\nQUIT\n"), .log = "R220 R250 R250 R500 R221 X C",
          .flags = TRANSCRIPT },
        { TEXT("NO\rOP\n"), .log = "R220 R554 X C", .flags = TRANSCRIPT },
        { TEXT(READY "DATA\r\na\n.\r\n"), .log = READY_LOG " D R354 R554 X C", .flags = LOST_BODY },
        { TEXT(READY "DATA\r\na\r\n.\nNOOP\r\n"), .log = READY_LOG " D R354 R554 X C",
          .flags = LOST_BODY },
        { TEXT(READY "DATA\r\na\r.\r\n"), .log = READY_LOG " D R354 R554 X C", .flags = LOST_BODY },
        { TEXT(READY "DATA\r\n.\r\r\n"), .log = READY_LOG " D R354 R554 X C" },
        { TEXT(READY "DATA\n.\r\n"), .log = READY_LOG " R554 X C" },
        { TEXT("EHLO c\nMAIL FROM:<a@b>\n" TO("d@e") "DATA\na\r\n..b\n.\nQUIT\n"),
          .log = READY_LOG " D R354 B(a|.b|) E0:7 R250 X R221 X C", .flags = TRANSCRIPT },

        /* no SMTP at all */
        { TEXT("GET / HTTP/1.1\r\nHost: x\r\n"), .log = "R220 R554 X C" },
        { TEXT("post /\r\n"), .log = "R220 R554 X C" },
        { TEXT("CONNECT x:25 HTTP/1.1\r\n"), .log = "R220 R554 X C" },
        { TEXT("PRI * HTTP/2.0\r\n"), .log = "R220 R554 X C" },
        { TEXT("GETX\r\nGET /\r\n"), .log = "R220 R500 R500" },
        { TEXT("\x16\x03\x01\x02"), .log = "R220 R554 X C" },
        { TEXT("NOOP\r\n\x16\r\n"), .log = "R220 R250 R500" },
        { TEXT("N\x16\r\n"), .log = "R220 R500" },

        /* TLS */
        { TEXT("EHLO c\r\nSTARTTLS\r\nNOOP\r\n" MAIL "HELO d\r\n" MAIL),
          .log = "R220 H(c) R250 L R220 Z R250 R503 H(d) R250 S(a@b) R250",
          .rules = { .tls = SERVER_TLS_OFFERED } },
        { TEXT("STARTTLS\r\nEHLO c\r\nSTARTTLS x\r\n" MAIL "STARTTLS\r\nSTARTTLS x\r\n"),
          .log = "R220 R503 H(c) R250 R501 S(a@b) R250 R503 R503",
          .rules = { .tls = SERVER_TLS_OFFERED } },
        { TEXT("EHLO c\r\nSTARTTLS\r\nSTARTTLS\r\nEHLO c\r\nSTARTTLS\r\nSTARTTLS x\r\n"),
          .log = "R220 H(c) R250 L R220 Z R503 H(c) R250 R503 R503",
          .rules = { .tls = SERVER_TLS_OFFERED } },
        { TEXT("EHLO c\r\nSTARTTLS\r\n" MAIL), .log = "R220 H(c) R250 L R454 S(a@b) R250",
          .answers = "454", .rules = { .tls = SERVER_TLS_OFFERED } },
        { TEXT("EHLO c\r\nSTARTTLS\r\n" MAIL), .log = "R220 H(c) R250 L R421 X C", .answers = "421",
          .rules = { .tls = SERVER_TLS_OFFERED } },
        { TEXT("STARTTLS\r\nEHLO c\r\nSTARTTLS\r\nSTARTTLS x\r\n"),
          .log = "R220 R502 H(c) R250 R502 R502" },
        { TEXT(MAIL "DATA\r\nEHLO c\r\n" MAIL "MAIL x\r\nVRFY\r\nNOOP\r\nRSET\r\n"
                    "STARTTLS\r\nEHLO c\r\n" ENVELOPE),
          .log = "R220 R530s R530 H(c) R250 R530s R530 R530 R250 R250 X "
                 "L R220 Z H(c) R250 S(a@b) R250 T(d@e) R250",
          .rules = { .tls = SERVER_TLS_REQUIRED } },
        /* whatever else it may be, it comes after TLS */
        { TEXT("AUTH PLAIN\r\nNOOP\r\n"), .log = "R220 R530 R250",
          .rules = { .tls = SERVER_TLS_REQUIRED } },
        { TEXT("DATA\r\na\r\n"), .log = "R220 R530 R554 X C",
          .rules = { .tls = SERVER_TLS_REQUIRED } },
        { TEXT("BDAT 1\r\naNOOP\r\n"), .log = "R220 R530 R250",
          .rules = { .tls = SERVER_TLS_REQUIRED } },
        { TEXT(READY "DATA\r\nSTARTTLS\r\n"), .log = READY_LOG " D R451 X R554 X C",
          .answers = "250 250 451", .rules = { .tls = SERVER_TLS_OFFERED } },
        { TEXT("LHLO c\r\n" MAIL "STARTTLS\r\nLHLO c\r\n" MAIL),
          .log = "R220 H(c) R250 R530s L R220 Z H(c) R250 S(a@b) R250", .flags = LMTP,
          .rules = { .tls = SERVER_TLS_REQUIRED } },
        { TEXT("X\r\nEHLO c\r\nX\r\nSTARTTLS\r\nX\r\n"),
          .log = "R220 R500 H(c) R250 R500 L R220 Z R421 X C",
          .rules = { .tls = SERVER_TLS_OFFERED, .max_errors = 2 } },
        { TEXT("EHLO c\r\nSTARTTLS\r\nNOOP\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 L R220 Z R250 R421 X C",
          .rules = { .tls = SERVER_TLS_OFFERED, .max_commands = 3 } },
        { TEXT("EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\nRSET\r\nSTARTTLS\r\nHELO c\r\nMAIL "
               "FROM:<a@b> SIZE=1\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 R250 X L R220 Z H(c) R250 R501s",
          .rules = { .tls = SERVER_TLS_OFFERED } },

        /* limits */
        { TEXT("EHLO c\r\n" MAIL TO("d@e") TO("f@g") TO("h@i") "DATA\r\n.\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R250 T(f@g) R250 R452r D R354 E0:0 R250 X",
          .rules = { .max_recipients = 2 } },
        { TEXT("EHLO c\r\n" MAIL TO("d@e") TO("f@g") TO("h@i") TO("j@k")),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R550 T(f@g) R250 R452r R452r",
          .answers = "250 550", .rules = { .max_recipients = 2 } },
        { TEXT("EHLO c\r\n" ENVELOPE "RSET\r\n" ENVELOPE TO("d@e")),
          .log = READY_LOG " R250 X S(a@b) R250 T(d@e) R250 R452r",
          .rules = { .max_recipients = 1 } },
        { TEXT("NOOP\r\nX\r\nNOOP\r\nNOOP\r\nNOOP\r\n"), .log = "R220 R250 R500 R250 R421 X C",
          .rules = { .max_commands = 3 } },
        { TEXT("NOOP\r\nNOOP\r\nNOOP\r\n"), .log = "R220 R250 R250 R250",
          .rules = { .max_commands = 3 } },
        { TEXT("X\r\nNOOP\r\nEHLO\r\nNOOP\r\nX\r\nNOOP\r\n"),
          .log = "R220 R500 R250 R501 R250 R421 X C", .rules = { .max_errors = 2 } },
        { TEXT("EHLO c\r\n" MAIL TO("d@e") TO("d@e") TO("d@e") "RSET\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R550 T(d@e) R550 T(d@e) R550 R250 X R421 X C",
          .answers = "250 550 550 550", .rules = { .max_errors = 2 } },
        { TEXT("EHLO c\r\n" MAIL TO("d@e") TO("d@e") TO("d@e") TO("f@g") "RSET\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R550 T(d@e) R550 T(d@e) R550 T(f@g) R250 R250 "
                 "X R250",
          .answers = "250 550 550 550 250", .rules = { .max_errors = 2 } },
        { TEXT(READY "DATA\r\n.\r\n"
                     "NOOP\r\nNOOP\r\nX\r\nNOOP\r\nNOOP\r\nNOOP\r\n"),
          .log = READY_LOG " D R354 E0:0 R250 X R250 R250 R500 R250 R250 R421 X C",
          .rules = { .max_commands = 5 } },
        { TEXT("X\r\nEHLO c\r\n" ENVELOPE "DATA\r\n.\r\nX\r\nX\r\n"),
          .log = "R220 R500 H(c) R250 S(a@b) R250 T(d@e) R250 D R354 E0:0 R250 X R500 R421 X C",
          .rules = { .max_errors = 1 } },
        { TEXT(READY "DATA\r\n.\r\n" ENVELOPE "DATA\r\n.\r\n" ENVELOPE "DATA\r\n.\r\nNOOP\r\n"),
          .log = READY_LOG
          " D R354 E0:0 R550 X S(a@b) R250 T(d@e) R250 D R354 E0:0 R450 X S(a@b) R250 "
          "T(d@e) R250 D R354 E0:0 R550 X R421 X C",
          .answers = "250 250 354 550 250 250 354 450 250 250 354 550",
          .rules = { .max_errors = 1 } },
        { TEXT("EHLO c\r\n" MAIL TO("d@e") TO("d@e") TO("d@e")),
          .log = "R220 H(c) R250 S(a@b) R250 T(d@e) R450 T(d@e) R450 T(d@e) R450",
          .answers = "250 450 450 450", .rules = { .max_errors = 2 } },
        { TEXT("EHLO c\r\nMAIL FROM:<a\r\nMAIL FROM:<a\r\nNOOP\r\n"),
          .log = "R220 H(c) R250 R501 R421 X C", .rules = { .max_errors = 1 } },
        { TEXT("DATA\r\nDATA\r\nNOOP\r\n"), .log = "R220 R503 R554 X C",
          .rules = { .max_errors = 1 } },
        { TEXT(READY "DATA\r\nabc\r\n.\r\n"), .log = READY_LOG " D R354 B(abc|) E0:5 R250 X",
          .rules = { .max_size = 5 } },
        { TEXT(READY "DATA\r\nabcd\r\n.\r\n"), .log = READY_LOG " D R354 R552m X",
          .flags = LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT(READY "DATA\r\n..bc\r\n.\r\n"), .log = READY_LOG " D R354 B(.bc|) E0:5 R250 X",
          .rules = { .max_size = 5 } },
        { TEXT(READY "DATA\r\n\r\n\r\n\r\n.\r\n"), .log = READY_LOG " D R354 R552m X",
          .flags = LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT(READY "DATA\r\nabcdef\r\n.\r\nDATA\r\n" ENVELOPE "DATA\r\nabc\r\n.\r\n"),
          .log = READY_LOG " D R354 R552m X R503 S(a@b) R250 T(d@e) R250 D R354 E0:5 R250 X",
          .flags = LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT(READY "DATA\r\nabcdef\r\n\n"), .log = READY_LOG " D R354 R554 X C",
          .flags = LOST_BODY, .rules = { .max_size = 5 } },
        { TEXT("EHLO c\r\nMAIL FROM:<a@b> SIZE=6\r\nMAIL FROM:<a@b> SIZE=5\r\n"),
          .log = "R220 H(c) R250 R552s S(a@b) R250", .rules = { .max_size = 5 } },
};

static void start_session(struct session *s, int i) {
        struct server_rules rules = sessions[i].rules;

        rules.is_lmtp = sessions[i].flags & LMTP;
        rules.lf_is_line_end = sessions[i].flags & TRANSCRIPT;
        start(s, &rules, sessions[i].answers);
        s->is_body_told = !(sessions[i].flags & LOST_BODY);
}

/* The same events however the input is cut. */
START_TEST(says) {
        static struct session s;

        for (size_t piece = sessions[_i].n + 1; piece > 0; piece--) {
                start_session(&s, _i);
                feed(&s, sessions[_i].in, sessions[_i].n, piece);
                ck_assert_str_eq(s.log, sessions[_i].log);
        }
}
END_TEST

/* Closed from outside after any step, answered or not: the reply, the reset, the end; and no octet
 * more is used. */
START_TEST(is_closed_from_outside) {
        static const char want[] = "R421 X C C";
        static struct session s;
        size_t n = sessions[_i].n, used;

        for (int n_steps = 0; n_steps < STEPS_MAX; n_steps++) {
                enum event_kind kind = SERVER_MORE;
                size_t at = 0;

                start_session(&s, _i);
                for (int i = 0; i < n_steps; i++) {
                        kind = step(&s, sessions[_i].in + at, n - at, &used);
                        at += used;
                        if (kind == SERVER_CLOSE || (kind == SERVER_MORE && at == n))
                                return;
                        if (i + 1 < n_steps || n_steps % 2 == 0)
                                answer(&s, kind);
                }
                server_close(&s.server, 421, "4.3.2", "going down");
                s.n_log = 0;
                for (int i = 0; i < 4; i++) {
                        step(&s, sessions[_i].in + at, n - at, &used);
                        ck_assert_uint_eq(used, 0);
                }
                ck_assert_str_eq(s.log, want);
                ck_assert_str_eq(s.server.reply.text, "going down");
                ck_assert_str_eq(s.server.reply.enhanced, "4.3.2");
        }
}
END_TEST

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
        Suite *suite = suite_create("server");
        TCase *tcase = unit_tcase(suite, "sessions");

        UNIT_TABLE(tcase, says, sessions);
        UNIT_TABLE(tcase, is_closed_from_outside, sessions);
        tcase = unit_tcase(suite, "steps");
        tcase_add_loop_test(tcase, greets_before_any_input, 0, 2);
        UNIT_TABLE(tcase, asks_for_more_when_all_is_said, mores);
        UNIT_TABLE(tcase, bounds_lines, lines);
        UNIT_TABLE(tcase, means_what_it_offers, offers);
        UNIT_TABLE(tcase, has_a_name, protocols);
        UNIT_TABLE(tcase, shows_its_state, states);
        tcase_add_test(tcase, refused_name_changes_nothing);
        return unit_run(suite);
}
