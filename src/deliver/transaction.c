/* SPDX-License-Identifier: MIT */
/* deliver/transaction.c - one SMTP or LMTP transaction with one server. */
#include "deliver/transaction.h"

#include "io/log.h"

static const struct fixed_reply unreadable = { 451, "4.3.0",
                                               "cannot read the message again, try again later" };

static const struct fixed_reply in_vain = { 451, "4.4.2",
                                            "not delivered in time, try again later" };

void transaction_forget(struct transaction *t) {
        t->state = TRANSACTION_IDLE;
        t->n_addressees = 0;
}

void transaction_refuse(struct transaction *t, const struct reply *verdict) {
        for (size_t i = 0; i < t->n_addressees; i++)
                t->addressees[i]->verdict = *verdict;
}

static void say_lost(const struct transaction *t, struct reply *ret) {
        reply_set(ret, 451, "4.4.2", "lost the connection to %s, try again later",
                  t->client->rules->title);
}

static void say_unexpected(const struct transaction *t, struct reply *ret) {
        reply_set(ret, 451, "4.5.0", "%s sent an unexpected reply, try again later",
                  t->client->rules->title);
}

static void make_verdict(const struct transaction *t, enum client_result result,
                         struct reply *reply) {
        if (result == CLIENT_UNREADABLE)
                reply_fix(reply, &unreadable);
        else if (result == CLIENT_IN_VAIN)
                reply_fix(reply, &in_vain);
        else if (result != CLIENT_OK && client_said(t->client, reply))
                return;
        else if (result == CLIENT_OUT_OF_STEP)
                say_unexpected(t, reply);
        else if (result != CLIENT_OK)
                say_lost(t, reply);
        else if (reply->code == 421)
                reply_make_temporary(reply);
}

void transaction_verdict(const struct transaction *t, enum client_result result,
                         struct reply *reply) {
        client_log(t->client);
        make_verdict(t, result, reply);
}

/* --- the envelope ----------------------------------------------------------------------------- */

/* Such a reply answers another question: the server may be waiting for a message by now. */
static enum client_result fail_out_of_step(struct client *c, const char *step) {
        return client_fail(c, CLIENT_OUT_OF_STEP, step, "this reply does not fit the command");
}

/* Of a command that no message follows. */
static enum client_result get(struct client *c, const char *step, struct reply *ret) {
        enum client_result r = client_get(c, step, ret);

        return r == CLIENT_OK && ret->code / 100 == 3 ? fail_out_of_step(c, step) : r;
}

/* The end of the last transaction, for a server that is asked one thing at a time. */
static enum client_result say_rset(struct client *c) {
        enum client_result r = client_look(c);
        struct reply reply;

        if (r != CLIENT_OK)
                return r;
        client_put_rset(c);
        c->is_begun = false;
        return get(c, "RSET", &reply);
}

bool transaction_check_size(const struct transaction *t, uint64_t size, struct reply *ret) {
        const struct client *c = t->client;
        bool is_promised = t->promised_size > c->max_size;

        if (c->max_size == 0 || size <= c->max_size)
                return true;
        reply_set(ret, is_promised ? 452 : 552, is_promised ? "4.3.4" : "5.3.4",
                  "message too big: %s accepts at most %llu octets", c->rules->title,
                  (unsigned long long) c->max_size);
        return false;
}

bool transaction_check_room(const struct transaction *t, struct reply *ret) {
        const struct client *c = t->client;

        if (c->max_rcpts == 0 || c->n_rcpts < c->max_rcpts)
                return true;
        reply_set(ret, 452, "4.5.3",
                  "%s accepts at most %u recipients: send the rest in another message",
                  c->rules->title, (unsigned) c->max_rcpts);
        return false;
}

void transaction_put(const struct transaction *t, const struct sender *s) {
        if (t->client->is_begun)
                client_put_rset(t->client);
        client_put_mail(t->client, s);
}

/* MAIL alone, unless it was put before. */
static enum client_result ask_mail(const struct transaction *t, const struct sender *s) {
        struct client *c = t->client;
        enum client_result r = c->is_begun && !c->is_pipelined ? say_rset(c) : CLIENT_OK;

        if (r == CLIENT_OK)
                r = client_look(c);
        if (r == CLIENT_OK && c->n_owed == 0)
                transaction_put(t, s);
        return r;
}

enum client_result transaction_begin(struct transaction *t, const struct sender *s,
                                     struct reply *ret) {
        struct client *c = t->client;
        enum client_result r = ask_mail(t, s);

        if (r == CLIENT_OK && c->is_begun)
                r = get(c, "RSET", ret);
        if (r == CLIENT_OK)
                r = get(c, "MAIL", ret);
        c->is_begun = r == CLIENT_OK && reply_is_positive(ret);
        t->state = c->is_begun ? TRANSACTION_OPEN : TRANSACTION_IDLE;
        return r;
}

enum client_result transaction_recipient(const struct transaction *t, const struct recipient *r,
                                         struct reply *ret) {
        enum client_result result = client_look(t->client);

        if (result != CLIENT_OK)
                return result;
        if (t->client->n_owed == 0)
                client_put_rcpt(t->client, r);
        return get(t->client, "RCPT", ret);
}

/* --- the message ------------------------------------------------------------------------------ */

/* Returns true if the server takes it, or else sets the refusal. */
static bool check_message(const struct transaction *t, struct message *m, const struct trace *trace,
                          struct reply *ret) {
        const struct client *c = t->client;
        bool is_promised = t->promised & EXTENSION_8BITMIME;

        if (!transaction_check_size(t, text_size(m, trace), ret))
                return false;
        if (c->extensions & EXTENSION_8BITMIME || !c->rules->needs_8bitmime || !text_is_8bit(m))
                return true;
        reply_set(ret, is_promised ? 451 : 554, is_promised ? "4.6.3" : "5.6.3",
                  "%s does not support 8-bit text", c->rules->title);
        return false;
}

enum client_result transaction_send(struct transaction *t, struct message *m,
                                    const struct trace *trace, struct reply *ret) {
        struct client *c = t->client;
        enum client_result r = client_look(c);

        if (r == CLIENT_OK && !check_message(t, m, trace, ret))
                return CLIENT_OK;
        if (r == CLIENT_OK)
                r = client_data(c, ret);
        if (r == CLIENT_OK && ret->code < 400 && ret->code != 354)
                r = fail_out_of_step(c, "DATA");
        if (r == CLIENT_OK && ret->code == 354)
                r = text_send(c, m, trace);
        if (r == CLIENT_OK && ret->code == 354)
                t->state = TRANSACTION_SENT;
        return r;
}

bool transaction_confirm(struct transaction *t) {
        enum client_result r = client_look(t->client);
        struct reply verdict;

        if (r == CLIENT_OK)
                return true;
        transaction_verdict(t, r, &verdict);
        transaction_refuse(t, &verdict);
        t->state = TRANSACTION_IDLE;
        return false;
}

/* The failure to hear a verdict is in the log for each addressee, and nowhere else. */
static void log_duplicates(const struct transaction *t, size_t from, const char *what,
                           const char *id) {
        struct client *c = t->client;

        for (size_t i = from; i < t->n_addressees; i++) {
                struct log_line l;

                log_start(&l, what);
                log_field(&l, "id", "%s", id);
                log_field(&l, "destination", "%s", c->endpoint);
                client_log_reason(c, &l);
                log_chosen(&l, "to", "<%s>", t->addressees[i]->recipient.address.text);
                log_send(&l, LOG_WARNING);
        }
        c->step = NULL;
}

/* One reply too many: nobody knows whose the others were. To close the connection now is no
 * fault. */
static void heed_leftover(struct transaction *t, const char *id) {
        struct client *c = t->client;
        struct reply verdict;

        if (client_look(c) == CLIENT_OUT_OF_STEP) {
                log_duplicates(t, 0, "duplicate possible: one reply too many", id);
                reply_set(&verdict, 451, "4.5.0", "%s sent too many replies, try again later",
                          c->rules->title);
                transaction_refuse(t, &verdict);
        }
        c->step = NULL;
}

/* To the dot every 2xx is a yes, for which our client has to hear 250. A 3xx is neither yes nor
 * no. */
static enum client_result get_verdict(struct client *c, struct reply *ret) {
        enum client_result r = client_verdict(c, ret);

        if (r != CLIENT_OK || ret->code >= 400)
                return r;
        if (!reply_is_positive(ret))
                return client_refuse(c, CLIENT_OUT_OF_STEP, "final dot", ret);
        ret->code = 250;
        return r;
}

static const char *why_in_doubt(enum client_result r) {
        return r == CLIENT_OUT_OF_STEP ? "duplicate possible: unexpected reply to the final dot"
                                       : "duplicate possible: no reply to the final dot";
}

/* To all the same reply (SMTP), or to each recipient its own (LMTP). */
void transaction_commit(struct transaction *t, const char *id) {
        struct client *c = t->client;
        enum client_result r = client_look(c);
        bool is_said = r == CLIENT_OK;
        struct reply verdict;

        if (r == CLIENT_OK)
                r = client_end(c);
        for (size_t i = 0; i < t->n_addressees; i++) {
                if (r == CLIENT_OK && (i == 0 || c->rules->is_lmtp))
                        r = get_verdict(c, &verdict);
                if (r != CLIENT_OK && is_said)
                        log_duplicates(t, i, why_in_doubt(r), id);
                is_said &= r == CLIENT_OK;
                make_verdict(t, r, &verdict);
                t->addressees[i]->verdict = verdict;
        }
        client_log(c);
        if (r == CLIENT_OK)
                heed_leftover(t, id);
        c->is_begun = false;
        t->state = TRANSACTION_DONE;
}

void transaction_abort(struct transaction *t) {
        if (t->state == TRANSACTION_SENT)
                client_abort(t->client);
        t->state = TRANSACTION_IDLE;
}
