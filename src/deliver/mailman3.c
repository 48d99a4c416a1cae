/* SPDX-License-Identifier: MIT */
/* deliver/mailman3.c - GNU Mailman 3. */
#include "deliver/mailman3.h"

const struct fixed_reply mailman3_gone = { 451, "4.4.1",
                                           "the list server cannot be reached, try again later" };
static const struct fixed_reply failed = {
        451, "4.3.0", "the list server did not accept the message, try again later"
};

/* Mailman's word, in ours. */
static void say_failed(struct reply *ret) {
        reply_fix(ret, &failed);
        ret->by = REPLY_BY_MAILMAN;
}

void mailman3_init(struct mailman3 *m, const struct delivery_context *x) {
        m->endpoint = x->config->mailman ? x->config->mailman : MAILMAN_DEFAULT;
        m->index = (unsigned) x->config->upstream.n; /* after those */
        m->rules = (struct client_rules) {
                .name = "Mailman",
                .title = "the list server",
                .hostname = x->config->hostname,
                .is_lmtp = true,
                .by = REPLY_BY_MAILMAN,
                .timeout = x->config->upstream_timeout,
                .downstream = x->client,
        };
        m->client.rules = &m->rules;
        m->question.client = &m->client;
}

void mailman3_reset(struct mailman3 *m) {
        transaction_forget(&m->question);
}

void mailman3_close(struct mailman3 *m) {
        client_close(&m->client);
}

/* The connection that we have, or a new one. */
static enum client_result find_server(struct mailman3 *m) {
        enum client_result r = client_look(&m->client);

        if (r == CLIENT_OK || r == CLIENT_IN_VAIN)
                return r;
        if (r == CLIENT_OUT_OF_STEP) /* while to close an idle connection is no fault */
                client_log(&m->client);
        transaction_forget(&m->question);
        return client_try(&m->client, &m->outage, m->index, m->endpoint, &m->rules);
}

/* Puts the address to Mailman 3. The sender is the null one: the question is what is a list, and
 * nothing about the sender or the size may answer it. The reply is to MAIL if that was refused. */
static enum client_result put(struct mailman3 *m, const struct recipient *recipient,
                              struct reply *ret) {
        static const struct sender nobody;
        enum client_result r = CLIENT_OK;

        if (m->question.state == TRANSACTION_IDLE)
                r = transaction_begin(&m->question, &nobody, ret);
        if (r == CLIENT_OK && m->question.state == TRANSACTION_OPEN)
                r = transaction_recipient(&m->question, recipient, ret);
        return r;
}

/* The same, and once more if Mailman goes away. */
static enum client_result ask(struct mailman3 *m, const struct recipient *recipient,
                              struct reply *ret) {
        enum client_result r = CLIENT_LOST;

        for (unsigned n = 0; n < 2 && client_is_gone(r); n++) {
                r = find_server(m);
                if (r != CLIENT_OK)
                        return r;
                r = put(m, recipient, ret);
                client_log(&m->client);
        }
        if (r != CLIENT_OK && r != CLIENT_IN_VAIN)
                client_leave_alone(&m->client, &m->outage);
        return r;
}

/* Why it is left alone. */
static void say_gone(const struct mailman3 *m, struct reply *ret) {
        if (m->outage.reason.code > 0)
                *ret = m->outage.reason;
        else
                reply_fix(ret, &mailman3_gone);
}

/* How Mailman says that there is no such list: 550, or 553 and 501 of what can be no list's
 * address. */
static bool is_no(const struct reply *r) {
        return r->code == 550 || r->code == 553 || r->code == 501;
}

enum mailman_owner mailman3_find(struct mailman3 *m, const struct recipient *recipient,
                                 struct reply *ret_verdict) {
        bool is_answer;

        if (*address_domain(&recipient->address) == '\0' || recipient->address.is_utf8)
                return MAILMAN_OTHER; /* Postmaster; and Mailman's addresses are ASCII */
        if (ask(m, recipient, ret_verdict) != CLIENT_OK) {
                say_gone(m, ret_verdict);
                return MAILMAN_UNKNOWN;
        }
        is_answer = m->question.state == TRANSACTION_OPEN; /* to RCPT */
        if (is_answer && is_no(ret_verdict))
                return MAILMAN_OTHER;
        if (is_answer && reply_is_positive(ret_verdict))
                return MAILMAN_LIST;
        if (!reply_is_temporary(ret_verdict))
                say_failed(ret_verdict);
        return MAILMAN_UNKNOWN;
}

bool mailman3_send(struct mailman3 *m, struct mailman3_copy *copy, struct addressee **list,
                   const struct sender *s, struct message *message, const struct trace *trace) {
        struct transaction *t = &copy->transaction;
        struct reply reply;
        enum client_result r;

        *t = (struct transaction) {
                .client = &copy->client,
                .promised_size = UINT64_MAX, /* EHLO knew nothing of its limit */
                .addressees = list,
                .n_addressees = 1,
        };
        if (client_try(&copy->client, &m->outage, m->index, m->endpoint, &m->rules) != CLIENT_OK) {
                say_gone(m, &reply);
                transaction_refuse(t, &reply);
                return false;
        }
        r = transaction_check_size(t, s->size, &reply) ? transaction_begin(t, s, &reply)
                                                       : CLIENT_OK;
        if (r == CLIENT_OK && reply_is_positive(&reply))
                r = transaction_recipient(t, &(*list)->recipient, &reply);
        if (r == CLIENT_OK && reply_is_positive(&reply))
                r = transaction_send(t, message, trace, &reply);
        transaction_verdict(t, r, &reply);
        if (t->state != TRANSACTION_SENT)
                transaction_refuse(t, &reply);
        return t->state == TRANSACTION_SENT;
}

/* Mailman's "550" to the dot is what it says of an error of its own; the list was there at RCPT. */
void mailman3_commit(struct mailman3_copy *copy, const char *id) {
        struct reply *verdict = &copy->transaction.addressees[0]->verdict;

        transaction_commit(&copy->transaction, id);
        if (verdict->code == 550) {
                client_log_reply(&copy->client, "final dot", verdict);
                say_failed(verdict);
        }
}
