/* SPDX-License-Identifier: MIT */
/* deliver/upstream.c - the upstream of a session. */
#include "deliver/upstream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "deliver/prologue.h"

static const struct fixed_reply no_upstream = {
        451, "4.4.1", "no upstream server can be reached, try again later"
};
static const struct fixed_reply too_many_names = {
        451, "4.7.0", "too many names in one session, try again in another"
};
static const struct fixed_reply log_in_again = {
        421, "4.4.2", "lost the connection to the upstream server: log in again"
};
static const struct fixed_reply cannot_log_in = {
        454, "4.7.0", "the upstream server is not available, try again later"
};
static const struct fixed_reply no_sender = { 503, "5.5.1", "the sender was refused" };
static const struct fixed_reply no_smtputf8 = { 451, "4.6.7",
                                                "the upstream server does not support SMTPUTF8" };
static const struct fixed_reply no_dsn = { 451, "4.3.3",
                                           "the upstream server does not support DSN" };

/* --- the connection --------------------------------------------------------------------------- */

int upstream_init(struct upstream *u, const struct delivery_context *x) {
        const struct config *c = x->config;

        u->config = c;
        u->peer = x->peer;
        u->authenticated = x->authenticated;
        u->rules = (struct client_rules) {
                .name = "upstream",
                .title = "the upstream server",
                .hostname = c->hostname,
                .by = REPLY_BY_UPSTREAM,
                .is_lmtp = c->is_upstream_lmtp,
                .needs_8bitmime = true,
                .has_prologue = prologue_is_needed(c),
                .timeout = c->upstream_timeout,
                .downstream = x->client,
                .peer_helo = u->helo,
        };
        u->client.rules = &u->rules;
        u->transaction.client = &u->client;
        u->transaction.addressees = calloc((size_t) c->max_recipients, sizeof(struct addressee *));
        u->outages = calloc(c->upstream.n + 1, sizeof(*u->outages));
        return u->transaction.addressees && u->outages ? 0 : -ENOMEM;
}

void upstream_close(struct upstream *u) {
        client_close(&u->client);
        free(u->transaction.addressees);
        free(u->outages);
}

/* Nothing is under way: the connection can be had again. */
void upstream_idle(struct upstream *u) {
        if (u->client.standing == CLIENT_ANONYMOUS)
                client_close(&u->client);
}

/* The first upstream that will have us. If there is none, the last one that gave a reason speaks
 * for all. */
static bool connect_upstream(struct upstream *u) {
        const struct list *upstream = &u->config->upstream;
        struct reply reason = u->client.said;

        if (upstream_is_authenticated(u)) /* as somebody, with the one that was lost */
                return false;
        client_close(&u->client);
        for (unsigned i = 0; i < upstream->n; i++) {
                struct outage *o = &u->outages[i];
                enum client_result r = client_try(&u->client, o, i, upstream->items[i], &u->rules);

                u->index = i;
                if (r == CLIENT_OK || r == CLIENT_IN_VAIN)
                        return r == CLIENT_OK;
                if (o->reason.code > 0)
                        reason = o->reason;
        }
        u->client.said = reason;
        return false;
}

/* The one that we have, or a new one. */
static bool find_upstream(struct upstream *u) {
        enum client_result r = client_look(&u->client);

        if (r == CLIENT_OUT_OF_STEP) /* while to close an idle connection is no fault */
                client_log(&u->client);
        return (r == CLIENT_OK && client_has_room(&u->client)) ||
               (r != CLIENT_IN_VAIN && u->n_names <= UPSTREAM_NAMES_MAX && connect_upstream(u));
}

/* XCLIENT tells the name, which holds for a connection. */
static void take_name(struct upstream *u, const char *helo) {
        char before[sizeof(u->helo)];

        memcpy(before, u->helo, sizeof(before));
        text_format(u->helo, sizeof(u->helo), "%s", helo);
        u->rules.peer = u->config->xclient && !peer_is_in(u->peer, "local") ? u->peer : NULL;
        if (!u->rules.peer || strcmp(u->helo, before) == 0)
                return;
        u->n_names++;
        client_close(&u->client);
}

/* What the upstream can do, we can offer. If none is there we do not know. */
void upstream_hello(struct upstream *u, const char *helo, struct offer *o) {
        struct transaction *t = &u->transaction;
        uint64_t max_size = 0, max_recipients = 0;

        t->promised = EXTENSION_8BITMIME;
        take_name(u, helo);
        if (u->client.standing == CLIENT_AUTHENTICATED && !upstream_is_authenticated(u))
                client_close(&u->client); /* TLS began, and our client has to do it again */
        if (find_upstream(u)) {
                t->promised = u->client.extensions;
                max_size = u->client.max_size;
                max_recipients = u->client.max_rcpts;
        }
        if (max_size > 0 && (o->max_size == 0 || max_size < o->max_size))
                o->max_size = max_size;
        if (max_recipients > 0 && max_recipients < o->max_recipients)
                o->max_recipients = (unsigned) max_recipients;
        t->promised_size = o->max_size > 0 ? o->max_size : UINT64_MAX;
        o->extensions = t->promised;
}

/* --- AUTH ------------------------------------------------------------------------------------- */

const char *upstream_mechanisms(struct upstream *u) {
        u->mechanisms[0] = '\0';
        if (u->client.is_open)
                auth_add_mechanisms(u->mechanisms, u->client.auth, strlen(u->client.auth));
        return u->mechanisms;
}

/* An exchange that has begun goes on with the same server, or not at all. */
void upstream_authenticate(struct upstream *u, const char *line, size_t n,
                           struct challenge *ret_challenge, struct reply *ret_verdict) {
        struct client *c = &u->client;

        if (c->standing == CLIENT_ANONYMOUS && !find_upstream(u))
                reply_fix(ret_verdict, &cannot_log_in);
        else if (client_exchange(c, line, n, ret_challenge, ret_verdict) != CLIENT_OK) {
                client_log(c);
                if (client_said(c, ret_verdict))
                        ret_verdict->code = cannot_log_in.code;
                else
                        reply_fix(ret_verdict, &cannot_log_in);
        }
}

/* --- the envelope ----------------------------------------------------------------------------- */

/* What can be refused without asking. They return true if it is not, or else set the refusal: a
 * temporary one, since our client uses only what it was offered. */
static bool check_dsn(const struct upstream *u, const char *options, struct reply *ret_refusal) {
        if (u->client.extensions & EXTENSION_DSN || !command_has_dsn(options))
                return true;
        reply_fix(ret_refusal, &no_dsn);
        return false;
}

static bool check_sender(const struct upstream *u, const struct sender *s,
                         struct reply *ret_refusal) {
        if (!s->is_smtputf8 || u->client.extensions & EXTENSION_SMTPUTF8)
                return check_dsn(u, s->options, ret_refusal) &&
                       transaction_check_size(&u->transaction, s->size, ret_refusal);
        reply_fix(ret_refusal, &no_smtputf8);
        return false;
}

static bool check_recipient(const struct upstream *u, const struct recipient *r,
                            struct reply *ret_refusal) {
        return check_dsn(u, r->options, ret_refusal) &&
               transaction_check_room(&u->transaction, ret_refusal);
}

static enum client_result say_mail(struct upstream *u, struct reply *ret) {
        const struct sender *s = &u->envelope->sender;

        return check_sender(u, s, ret) ? transaction_begin(&u->transaction, s, ret) : CLIENT_OK;
}

/* One that was put before is asked already. */
static enum client_result say_rcpt(const struct upstream *u, const struct recipient *r,
                                   struct reply *ret) {
        bool is_asked = u->client.n_owed > 0;

        return is_asked || check_recipient(u, r, ret)
                       ? transaction_recipient(&u->transaction, r, ret)
                       : CLIENT_OK;
}

/* MAIL and all recipients so far, to a new connection. All must be welcome again: what the client
 * was told holds. */
static enum client_result say_again(struct upstream *u) {
        const struct transaction *t = &u->transaction;
        struct addressee **a = t->addressees, **end = a + t->n_addressees;
        struct reply reply;
        enum client_result r = say_mail(u, &reply);

        if (r == CLIENT_OK && u->client.is_pipelined && reply_is_positive(&reply))
                for (; a < end && check_recipient(u, &(*a)->recipient, &reply); a++)
                        client_put_rcpt(&u->client, &(*a)->recipient);
        for (a = t->addressees; a < end && r == CLIENT_OK && reply_is_positive(&reply); a++)
                r = say_rcpt(u, &(*a)->recipient, &reply);
        if (r == CLIENT_OK && !reply_is_positive(&reply))
                r = client_refuse(&u->client, CLIENT_REFUSED, "envelope, repeated", &reply);
        return r;
}

/* After a failure: a new connection that knows the envelope. Once in a transaction, and only if the
 * upstream went away: one that is silent or out of step is not asked again. */
static bool reconnect(struct upstream *u, enum client_result failure) {
        bool may_reconnect = u->may_reconnect && client_is_gone(failure);

        u->may_reconnect = false;
        if (!may_reconnect)
                return false;
        client_log(&u->client);
        if (!connect_upstream(u))
                return false;
        return u->transaction.state == TRANSACTION_IDLE || say_again(u) == CLIENT_OK;
}

/* One that goes away twice in a transaction would do so in the next. What counts is the last
 * failure, if it is a new one, not yet in the log: after the first, it may have refused what was
 * said again. */
static void heed_failure(struct upstream *u) {
        const struct client *c = &u->client;

        if (c->step && client_is_gone(c->failure) && !u->may_reconnect)
                client_leave_alone(c, &u->outages[u->index]);
}

static void begin(struct upstream *u, const struct envelope *e) {
        u->envelope = e;
        u->may_reconnect = true;
        client_forget(&u->client);
        transaction_forget(&u->transaction);
}

static void ask_mail(struct upstream *u, struct reply *ret_verdict) {
        enum client_result r = say_mail(u, ret_verdict);

        if (r != CLIENT_OK && reconnect(u, r))
                r = say_mail(u, ret_verdict);
        heed_failure(u);
        transaction_verdict(&u->transaction, r, ret_verdict);
}

void upstream_sender(struct upstream *u, const struct envelope *e, struct reply *ret_verdict) {
        begin(u, e);
        if (find_upstream(u))
                ask_mail(u, ret_verdict);
        else if (upstream_is_authenticated(u))
                reply_fix(ret_verdict, &log_in_again);
        else if (u->n_names > UPSTREAM_NAMES_MAX)
                reply_fix(ret_verdict, &too_many_names);
        else if (!client_said(&u->client, ret_verdict))
                reply_fix(ret_verdict, &no_upstream);
}

void upstream_recipient(struct upstream *u, struct addressee *a, struct reply *ret_verdict) {
        struct transaction *t = &u->transaction;
        enum client_result r = say_rcpt(u, &a->recipient, ret_verdict);

        if (r != CLIENT_OK && reconnect(u, r))
                r = say_rcpt(u, &a->recipient, ret_verdict);
        heed_failure(u);
        transaction_verdict(t, r, ret_verdict);
        if (reply_is_positive(ret_verdict))
                t->addressees[t->n_addressees++] = a;
}

/* --- a batch ---------------------------------------------------------------------------------- */

bool upstream_put(struct upstream *u, const struct envelope *e, const struct addressee *a) {
        struct client *c = &u->client;
        bool is_ready = c->is_pipelined && (c->n_owed > 0 || client_is_quiet(c));
        struct reply refusal;

        if (!a)
                begin(u, e);
        if (!a && !client_has_room(c))
                return false;
        if (!is_ready || !(a ? check_recipient(u, &a->recipient, &refusal)
                             : check_sender(u, &e->sender, &refusal)))
                return false;
        if (a)
                client_put_rcpt(c, &a->recipient);
        else
                transaction_put(&u->transaction, &e->sender);
        return true;
}

/* The answer to a RCPT that was put before its MAIL was known to be refused. */
static void drop_answer(struct upstream *u, struct reply *ret_verdict) {
        if (u->client.n_owed > 0)
                client_get(&u->client, "RCPT", ret_verdict);
        client_log(&u->client);
        reply_fix(ret_verdict, &no_sender);
}

/* What was put over a connection that is lost is asked again, one by one, over the next. */
void upstream_collect(struct upstream *u, struct addressee *a, struct reply *ret_verdict) {
        if (!a)
                ask_mail(u, ret_verdict);
        else if (u->transaction.state == TRANSACTION_OPEN)
                upstream_recipient(u, a, ret_verdict);
        else
                drop_answer(u, ret_verdict);
}

/* Answers that nobody waits for any more would be taken for others. */
void upstream_reset(struct upstream *u) {
        if (u->client.n_owed > 0)
                client_abort(&u->client);
        transaction_forget(&u->transaction);
}

/* --- the message ------------------------------------------------------------------------------ */

bool upstream_send(struct upstream *u, struct message *m, const struct trace *trace) {
        struct transaction *t = &u->transaction;
        struct reply refusal;
        enum client_result r = transaction_send(t, m, trace, &refusal);

        if (r != CLIENT_OK && reconnect(u, r))
                r = transaction_send(t, m, trace, &refusal);
        heed_failure(u);
        transaction_verdict(t, r, &refusal);
        if (t->state != TRANSACTION_SENT)
                transaction_refuse(t, &refusal);
        return t->state == TRANSACTION_SENT;
}
