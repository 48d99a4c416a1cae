/* SPDX-License-Identifier: MIT */
/* smtp/server_verdicts.c - the message is there: one verdict, or one for each recipient.
 *
 * RFC 2033 section 4.2 (LMTP); PRDR, of which there is a draft (draft-hall-prdr) and Exim. With
 * PRDR the replies are 353, one for each recipient, and one for all. If that last one is no
 * success, Exim sends the message again to all of them: so it is a success as soon as one recipient
 * has one. Without 353 a single reply is for all.
 */
#include "smtp/server_internal.h"

static const struct fixed_reply one_for_each = { 353, "",
                                                 "one reply for each recipient, and one for all" };

bool server_has_own_verdicts(const struct server *s) {
        return s->rules.is_lmtp || s->is_prdr;
}

static bool is_prdr_spoken(const struct server *s) {
        return s->is_prdr && s->n_recipients > 1 && s->flaw == NO_FLAW;
}

static void refuse(struct server *s) {
        s->refused = s->n_verdicts++ == 0 ? REFUSED_MESSAGE : REFUSED_NOBODY;
        server_blame(s);
        s->held = s->reply;
        server_emit(s, SERVER_REPLY);
}

static void ask(struct server *s) {
        if (is_prdr_spoken(s) && s->n_verdicts == 0) {
                reply_fix(&s->reply, &one_for_each);
                server_emit(s, SERVER_REPLY);
        }
        server_emit(s, SERVER_END);
}

/* A message that nobody took for good is an error of the client, like a command; who has erred too
 * often hears it after the verdict. */
static void end(struct server *s) {
        s->n_errors += reply_is_permanent(&s->held);
        s->n_idle_errors += reply_is_permanent(&s->held);
        if (is_prdr_spoken(s)) {
                s->reply = s->held;
                server_emit(s, SERVER_REPLY);
        }
        s->phase = s->is_leaving ? SERVER_CLOSED : SERVER_COMMANDS;
        server_reset(s);
}

void server_next_verdict(struct server *s) {
        unsigned n = s->rules.is_lmtp || is_prdr_spoken(s) ? s->n_recipients : 1;

        if (s->n_verdicts == n)
                end(s);
        else if (s->flaw != NO_FLAW)
                refuse(s);
        else
                ask(s);
}

void server_answer_verdict(struct server *s) {
        s->held = s->n_verdicts++ == 0 ? s->reply : *reply_best(&s->held, &s->reply);
        if (reply_is_positive(&s->reply))
                s->n_idle_commands = s->n_idle_errors = 0;
        s->is_leaving |= s->reply.code == 421;
        server_emit(s, SERVER_REPLY);
}
