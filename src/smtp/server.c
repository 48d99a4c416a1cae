/* SPDX-License-Identifier: MIT */
/* smtp/server.c - the state machine: from octets to lines, commands and text, and from answers to
 * replies. */
#include <assert.h>
#include <string.h>

#include "base/ascii.h"
#include "base/text.h"
#include "smtp/server_internal.h"

/* --- events to come --------------------------------------------------------------------------- */

void server_emit(struct server *s, enum event_kind kind) {
        assert(s->n_queued < SERVER_QUEUE);
        s->queue[s->n_queued++] = kind;
}

static bool is_question(enum event_kind kind) {
        return kind == SERVER_HELLO || kind == SERVER_SENDER || kind == SERVER_RECIPIENT ||
               kind == SERVER_DATA || kind == SERVER_END || kind == SERVER_TLS ||
               kind == SERVER_SECURE || kind == SERVER_AUTH || kind == SERVER_COLLECT;
}

/* Takes the first event, if there is one. */
static bool take_event(struct server *s, struct event *ret) {
        if (s->n_queued == 0)
                return false;
        ret->kind = s->queue[0];
        memmove(s->queue, s->queue + 1, --s->n_queued * sizeof(s->queue[0]));
        s->question = is_question(ret->kind) ? ret->kind : SERVER_MORE;
        ret->hello = &s->hello;
        ret->sender = &s->sender;
        ret->recipient = &s->recipient;
        ret->reply = &s->reply;
        ret->is_sender = s->is_sender_deferred;
        ret->refused = REFUSED_NOBODY;
        if (ret->kind == SERVER_REPLY && s->postponed == SERVER_MORE) { /* a verdict is not ours */
                ret->refused = s->refused;
                s->refused = REFUSED_NOBODY;
        }
        if (ret->kind == SERVER_END)
                ret->n = s->n_verdicts;
        if (ret->kind == SERVER_AUTH) {
                ret->data = s->line;
                ret->n = s->n_secret;
        }
        return true;
}

/* Say s->reply, and no more. */
static void close_session(struct server *s) {
        if (server_is_secret(s))
                server_forget_line(s);
        s->question = SERVER_MORE;
        s->phase = SERVER_CLOSED;
        if (s->postponed != SERVER_MORE) /* it is not said any more */
                s->refused = REFUSED_NOBODY;
        s->n_queued = s->n_deferred = 0;
        s->is_sender_deferred = s->is_collecting = false;
        s->postponed = SERVER_MORE;
        server_emit(s, SERVER_REPLY);
        server_emit(s, SERVER_RESET);
        server_emit(s, SERVER_CLOSE);
}

void server_close(struct server *s, int code, const char *enhanced, const char *text) {
        reply_set(&s->reply, code, enhanced, "%s", text);
        close_session(s);
}

bool server_has_erred(const struct server *s) {
        return s->n_idle_errors > s->rules.max_errors;
}

/* Clients that do nothing but err are sent away. */
static void say_now(struct server *s) {
        s->n_errors += reply_is_permanent(&s->reply);
        s->n_idle_errors += reply_is_permanent(&s->reply);
        if (s->reply.code == 421)
                close_session(s);
        else if (server_has_erred(s))
                server_close(s, 421, "4.7.0", "too many errors, closing connection");
        else
                server_emit(s, SERVER_REPLY);
}

/* s->reply answers a command. It waits for its turn if earlier answers are still to be collected.
 */
void server_say_reply(struct server *s) {
        if (s->n_deferred == 0) {
                say_now(s);
                return;
        }
        s->held = s->reply;
        s->postponed = SERVER_REPLY;
}

void server_say(struct server *s, int code, const char *enhanced, const char *text) {
        reply_set(&s->reply, code, enhanced, "%s", text);
        server_say_reply(s);
}

void server_refuse(struct server *s, enum refused whom) {
        s->refused = whom;
        server_say_reply(s);
}

void server_end_transaction(struct server *s) {
        s->done &= HELLO;
        s->n_idle_errors += s->n_recipients == 0 ? s->n_refused : 0;
        s->n_recipients = s->n_rcpts = s->n_refused = 0;
        s->size = 0;
        s->is_smtputf8 = s->is_prdr = false;
}

/* The transaction is over. */
void server_reset(struct server *s) {
        server_end_transaction(s);
        server_emit(s, SERVER_RESET);
}

/* --- command lines ---------------------------------------------------------------------------- */

void server_close_for_bare(struct server *s, const char *octet) {
        char text[80];

        text_format(text, sizeof(text),
                    "bare %s received: only CRLF ends a line (RFC 5321 section 2.3.8)", octet);
        server_close(s, 554, "5.5.2", text);
}

/* Octets of the line under way, up to its LF but without it. */
static void keep_line(struct server *s, const char *in, size_t n) {
        size_t room = sizeof(s->line) - 1 - s->n_line; /* 1: the LF */

        s->n_shown = 0; /* that is of the last line */
        s->is_after_cr = n > 0 ? in[n - 1] == '\r' : s->is_after_cr;
        if (n > room) {
                s->is_overlong = true;
                n = room;
        }
        memcpy(s->line + s->n_line, in, n);
        s->n_line += n;
}

static void end_line(struct server *s) {
        bool is_secret = server_is_secret(s);
        size_t n = s->n_line;

        if (!s->is_after_cr && !s->rules.lf_is_line_end) {
                server_close_for_bare(s, "LF");
                return;
        }
        s->is_overlong |= n >= server_line_max(s);
        if (s->is_after_cr && !s->is_overlong)
                n--;
        if (s->phase == SERVER_IN_AUTH)
                server_auth_respond(s, n);
        else
                verb_run(s, s->line, n);
        if (is_secret && s->n_secret == 0)
                server_forget_line(s);
        s->n_line = 0;
        s->is_overlong = s->is_after_cr = false;
}

/* Takes octets up to the end of a command line. */
static size_t take_line(struct server *s, char *in, size_t n) {
        const char *lf = memchr(in, '\n', n);
        size_t part = lf ? (size_t) (lf - in) : n;

        /* RFC 8446 section 5.1: ContentType handshake */
        if (s->n_commands == 0 && s->n_line == 0 && *in == '\x16')
                server_close(s, 554, "5.5.1", "this is SMTP without TLS");
        else if (part > 0 && (s->is_after_cr || memchr(in, '\r', part - 1)))
                server_close_for_bare(s, "CR");
        else {
                keep_line(s, in, part);
                if (server_is_secret(s))
                        explicit_bzero(in, part);
                if (lf)
                        end_line(s);
        }
        return part + (lf != NULL);
}

/* --- deferred answers ------------------------------------------------------------------------- */

/* What a transaction is like, while there may be another command. */
static void remember_sender(struct server *s) {
        s->is_smtputf8 = s->sender.is_smtputf8;
        s->is_prdr = s->sender.is_prdr;
}

/* A MAIL that is under way counts as accepted, so that the RCPTs behind it can be asked. */
void server_defer(struct server *s) {
        assert(s->question == SERVER_SENDER || s->question == SERVER_RECIPIENT);
        if (s->question == SERVER_SENDER) {
                s->is_sender_deferred = true;
                remember_sender(s);
                s->done |= SENDER;
        }
        s->question = SERVER_MORE;
        s->n_deferred++;
}

void server_postpone(struct server *s) {
        assert(s->question == SERVER_RECIPIENT && s->n_deferred > 0);
        s->question = SERVER_MORE;
        s->postponed = SERVER_RECIPIENT;
}

/* Whether the next whole line is a RCPT that may be asked before the answers to the last ones are
 * known. One that would close the session is not: what was answered before it is said first. */
static bool is_batch_going_on(const struct server *s, const char *in, size_t n) {
        const char *lf = s->n_line == 0 && n > 5 && ascii_is_equal(in, "RCPT ", 5)
                                 ? memchr(in, '\n', n)
                                 : NULL;
        const char *cr = lf ? memchr(in, '\r', (size_t) (lf - in)) : NULL;

        return lf && (cr ? cr + 1 == lf : s->rules.lf_is_line_end) &&
               s->n_idle_commands < s->rules.max_commands && s->n_deferred < SERVER_BATCH &&
               s->n_rcpts < s->rules.max_recipients;
}

static bool must_collect(const struct server *s, const char *in, size_t n) {
        return s->is_collecting || s->postponed != SERVER_MORE || !is_batch_going_on(s, in, n);
}

static void collect(struct server *s) {
        s->is_collecting = true;
        server_emit(s, SERVER_COLLECT);
}

/* Order is judged before all else, here in retrospect: the sender was refused meanwhile. That is no
 * mistake of the client's. */
static void refuse_recipient(struct server *s) {
        s->refused = REFUSED_NOBODY;
        reply_set(&s->reply, 503, "5.5.1", "%s", SEND_MAIL_FIRST);
        server_emit(s, SERVER_REPLY);
}

static void resume(struct server *s) {
        enum event_kind kind = s->postponed;

        s->postponed = SERVER_MORE;
        if (!(s->done & SENDER))
                refuse_recipient(s);
        else if (kind == SERVER_RECIPIENT)
                server_emit(s, SERVER_RECIPIENT);
        else {
                s->reply = s->held;
                say_now(s);
        }
}

/* --- the machine ------------------------------------------------------------------------------ */

bool server_has_sender(const struct server *s) {
        return s->done & SENDER;
}

bool server_is_closed(const struct server *s) {
        return s->phase == SERVER_CLOSED;
}

void server_init(struct server *s, const struct server_rules *rules) {
        memset(s, 0, offsetof(struct server, line));
        s->rules = *rules;
}

size_t server_step(struct server *s, char *in, size_t n, struct event *ret) {
        size_t used = 0;

        assert(s->question == SERVER_MORE);
        while (!take_event(s, ret)) {
                if (s->n_deferred > 0 && must_collect(s, in + used, n - used))
                        collect(s);
                else if (s->postponed != SERVER_MORE)
                        resume(s);
                else if (s->phase == SERVER_GREETING) {
                        s->phase = SERVER_COMMANDS;
                        reply_set(&s->reply, 220, "", "%s %s smtpd", s->rules.hostname,
                                  s->rules.is_lmtp ? "LMTP" : "ESMTP");
                        server_emit(s, SERVER_REPLY);
                } else if (s->phase == SERVER_COMMANDS && server_has_failed_auth(s))
                        server_close_for_auth(s);
                else if (s->phase == SERVER_VERDICTS)
                        server_next_verdict(s);
                else if (s->phase == SERVER_CLOSED)
                        server_emit(s, SERVER_CLOSE);
                else if (server_is_in_chunk(s) && s->chunk.n_left == 0)
                        server_end_chunk(s, ret);
                else if (used == n) {
                        ret->kind = SERVER_MORE;
                        break;
                } else if (s->phase == SERVER_IN_BODY)
                        used += server_take_body(s, in + used, n - used, ret);
                else if (server_is_in_chunk(s))
                        used += server_take_chunk(s, in + used, n - used, ret);
                else
                        used += take_line(s, in + used, n - used);
        }
        return used;
}

static void answer_sender(struct server *s, bool is_yes) {
        s->is_smtputf8 &= is_yes;
        s->is_prdr &= is_yes;
        s->done = is_yes ? s->done | SENDER : s->done & ~(unsigned) SENDER;
        say_now(s);
}

static void answer_recipient(struct server *s, bool is_yes) {
        assert(s->n_deferred == 0 || s->question == SERVER_COLLECT);
        s->n_recipients += is_yes;
        s->done |= is_yes ? RECIPIENT : 0;
        if (!reply_is_permanent(&s->reply)) {
                say_now(s);
                return;
        }
        /* a mistake only if there is nobody else in the end: of a list's members some may be
         * unknown */
        s->n_errors++;
        s->n_refused++;
        server_emit(s, SERVER_REPLY);
}

/* The answer to the oldest of those that were deferred. */
static void answer_deferred(struct server *s, bool is_yes) {
        bool is_sender = s->is_sender_deferred;

        s->is_collecting = --s->n_deferred > 0;
        s->is_sender_deferred = false;
        if (is_sender)
                answer_sender(s, is_yes);
        else if (s->done & SENDER)
                answer_recipient(s, is_yes);
        else
                refuse_recipient(s);
}

static void answer_data(struct server *s) {
        if (server_is_in_chunk(s)) {
                server_invite_chunks(s);
                return;
        }
        server_say_reply(s);
        if (s->reply.code == 354)
                server_invite_body(s);
        else if (s->phase != SERVER_CLOSED) {
                server_reset(s);
                s->uninvited = A_MESSAGE;
        }
}

void server_answer(struct server *s, const struct reply *verdict) {
        bool is_yes = reply_is_positive(verdict);

        s->reply = *verdict;
        switch (s->question) {
        case SERVER_HELLO: server_say_reply(s); break;
        case SERVER_SENDER:
                remember_sender(s);
                answer_sender(s, is_yes);
                break;
        case SERVER_RECIPIENT: answer_recipient(s, is_yes); break;
        case SERVER_COLLECT: answer_deferred(s, is_yes); break;
        case SERVER_DATA: answer_data(s); break;
        case SERVER_TLS:
                server_say_reply(s);
                if (verdict->code == 220 && s->phase != SERVER_CLOSED)
                        server_emit(s, SERVER_SECURE);
                break;
        case SERVER_AUTH: server_auth_answer(s); break;
        case SERVER_END: server_answer_verdict(s); break;
        default: assert(false && "a question was asked");
        }
        s->question = SERVER_MORE;
}
