/* SPDX-License-Identifier: MIT */
/* session_rules.c - reply= and delay= in a session: before the strategy is asked. */
#include <errno.h>

#include "io/deadline.h"
#include "rules.h"
#include "session_internal.h"

/* SIGTERM, a deadline and a client that leaves end such a wait as they do all others. */
static bool wait_for(struct session *s, const struct subject *subject) {
        uint64_t seconds = rules_delay(s->log.config, subject);
        int r;

        if (seconds == 0)
                return true;
        if (!session_flush(s))
                return false;
        r = patience_wait(s->patience, NULL, 0, deadline_after(seconds));
        if (r != -ETIMEDOUT)
                session_end_input(s, r);
        return r == -ETIMEDOUT;
}

/* Who is to be refused before it has said anything hears it in place of the greeting. */
void session_rules_connect(struct session *s) {
        const struct subject subject = { MATCH_CONNECT, .text = s->log.peer->address };
        struct reply verdict;

        if (s->end != GOES_ON || !rules_exist(s->log.config, MATCH_CONNECT) || !session_prepare(s))
                return;
        if (!wait_for(s, &subject) || !rules_reply(s->log.config, &subject, &verdict))
                return;
        session_log_rejected_client(&s->log, "", &verdict);
        server_close(&s->server, verdict.code, verdict.enhanced, verdict.text);
}

/* --- questions -------------------------------------------------------------------------------- */

/* false: no rule is about it. */
static bool find_subject(const struct session *s, const struct event *e, struct subject *ret) {
        *ret = (struct subject) { .envelope = &s->mail.envelope };
        switch (e->kind) {
        case SERVER_HELLO:
                ret->step = MATCH_HELO;
                ret->text = e->hello->name;
                return true;
        case SERVER_SENDER:
                ret->step = MATCH_MAIL;
                ret->address = &e->sender->address;
                return true;
        case SERVER_RECIPIENT:
                ret->step = MATCH_RCPT;
                ret->address = &e->recipient->address;
                return true;
        case SERVER_DATA: ret->step = MATCH_DATA; return true;
        default: return false;
        }
}

static struct subject message_for(const struct recipient *r) {
        return (struct subject) { MATCH_MESSAGE, .address = &r->address };
}

/* In LMTP, and with PRDR, each recipient has a verdict of its own. Nobody can take a recipient back
 * from a server that has been told of it: it is not told of those that a rule will refuse. */
static bool is_to_be_held(const struct session *s, const struct event *e) {
        struct reply verdict;
        struct subject subject;

        if (e->kind != SERVER_RECIPIENT || !server_has_own_verdicts(&s->server))
                return false;
        subject = message_for(e->recipient);
        return rules_reply(s->log.config, &subject, &verdict);
}

static void hold(struct session *s, const struct event *e) {
        struct reply welcome;

        mail_hold(&s->mail, e->recipient, &welcome);
        server_answer(&s->server, &welcome);
        mail_accept(&s->mail, s->server.n_recipients);
}

static void log_refusal(struct session *s, const struct event *e, const struct reply *verdict) {
        switch (e->kind) {
        case SERVER_SENDER:
                mail_refused_sender(&s->mail, e->sender);
                session_log_rejected(&s->log, REFUSED_SENDER, NULL, verdict);
                break;
        case SERVER_RECIPIENT:
                session_log_rejected(&s->log, REFUSED_RECIPIENT, e->recipient, verdict);
                break;
        case SERVER_DATA:
                mail_refused(&s->mail);
                session_log_rejected(&s->log, REFUSED_MESSAGE, NULL, verdict);
                break;
        default: session_log_rejected_client(&s->log, e->hello->name, verdict);
        }
}

/* Replies come in their order: what was deferred is answered before a rule is obeyed. */
bool session_rules_ask(struct session *s, const struct event *e) {
        const struct config *c = s->log.config;
        struct subject subject;
        struct reply verdict;
        bool is_held;

        if (!find_subject(s, e, &subject))
                return true;
        is_held = is_to_be_held(s, e);
        if (s->server.n_deferred > 0 && (is_held || rules_match(c, &subject))) {
                server_postpone(&s->server);
                return false;
        }
        if (!wait_for(s, &subject))
                return false;
        if (rules_reply(c, &subject, &verdict)) {
                log_refusal(s, e, &verdict);
                server_answer(&s->server, &verdict);
                return false;
        }
        if (is_held)
                hold(s, e);
        return !is_held;
}

/* --- the message ------------------------------------------------------------------------------ */

static struct subject message_for_all(const struct session *s) {
        return (struct subject) { MATCH_MESSAGE, .envelope = &s->mail.envelope };
}

bool session_rules_wait(struct session *s) {
        const struct subject subject = message_for_all(s);

        return wait_for(s, &subject);
}

static void judge_held(struct session *s) {
        struct envelope *e = &s->mail.envelope;

        for (struct addressee *a = e->addressees; a < e->addressees + e->n_addressees; a++) {
                const struct subject subject = message_for(&a->recipient);

                if (a->is_held)
                        rules_reply(s->log.config, &subject, &a->verdict);
        }
}

void session_rules_deliver(struct session *s) {
        const struct subject subject = message_for_all(s);
        struct reply verdict;
        bool has_own_verdicts = server_has_own_verdicts(&s->server);

        if (!has_own_verdicts && rules_reply(s->log.config, &subject, &verdict)) {
                mail_judge(&s->mail, &verdict);
                return;
        }
        s->mail.envelope.has_own_verdicts = has_own_verdicts;
        mail_deliver(&s->mail, s->server.size, s->server.helo, server_protocol(&s->server));
        judge_held(s);
}
