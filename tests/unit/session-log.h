/* SPDX-License-Identifier: MIT */
/* session-log.h - a session of smtp/server fed, answered and written down, for the programs that
 * test it.
 *
 * A session is written down as one line of words, one for each event:
 *
 *      R250                    SERVER_REPLY, its code; "s", "r", "m" after it: our refusal of the
 *                              sender, the recipient, the message
 *      B(text)                 SERVER_BODY, as one however it came; "|" is an LF
 *      H(name)                 SERVER_HELLO
 *      E0:5                    SERVER_END, its index and the size of the message
 *      S(address), T(address)  SERVER_SENDER, SERVER_RECIPIENT
 *      A(line)                 SERVER_AUTH: AUTH, and lines of its exchange
 *      D  X  C  L  Z           SERVER_DATA, SERVER_RESET, SERVER_CLOSE, SERVER_TLS, SERVER_SECURE
 *
 * SERVER_MORE is written (as M) only where a test asks for it: where it comes depends on how the
 * input was cut.
 */
#pragma once

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

__attribute__((format(printf, 2, 3))) static inline void note(struct session *s, const char *format,
                                                              ...) {
        va_list ap;

        if (s->n_log > 0)
                s->log[s->n_log++] = ' ';
        va_start(ap, format);
        s->n_log += (size_t) vsnprintf(s->log + s->n_log, sizeof(s->log) - s->n_log, format, ap);
        va_end(ap);
}

static inline void note_body(struct session *s, const struct event *e) {
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
static inline void note_reply(struct session *s, const struct event *e) {
        static const char *const refused[] = { "", "s", "r", "m" };

        note(s, "R%d%s", e->reply->code, refused[e->refused]);
}

static inline void note_event(struct session *s, const struct event *e) {
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

static inline int next_answer(struct session *s, int otherwise) {
        char *end;
        long code = s->answers ? strtol(s->answers, &end, 10) : 0;

        if (code == 0)
                return otherwise;
        s->answers = end;
        return (int) code;
}

static inline void offer(struct server *s, unsigned extensions, const char *mechanisms) {
        const struct offer o = { extensions, s->rules.max_size, s->rules.max_recipients };

        server_offer(s, &o, mechanisms);
}

static inline void answer(struct session *s, enum event_kind question) {
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
static inline enum event_kind step(struct session *s, const char *in, size_t n, size_t *used) {
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
static inline void feed(struct session *s, const char *in, size_t n, size_t piece) {
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

static inline void start(struct session *s, const struct server_rules *rules, const char *answers) {
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
