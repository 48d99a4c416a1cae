/* SPDX-License-Identifier: MIT */
/* deliver/mailman.c - strategy mailman: lists' addresses to GNU Mailman, others to the upstream.
 *
 * At RCPT each address is put to Mailman first: to the LMTP server of Mailman 3, whose answer to
 * RCPT says whether it is a list's, or to the lists directory of Mailman 2.1. Of a message for
 * lists and others every copy is sent, except for its final dot, before the first dot follows; a
 * copy for Mailman 2.1 is a program that can run. Whoever refuses before somebody has the message
 * leaves nothing delivered anywhere. The upstream is sent its copy last, so that it waits least,
 * and has its dot first: its verdict is the least foreseeable. Each list has a copy of its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/text.h"
#include "deliver/gate.h"
#include "deliver/mailman2.h"
#include "deliver/mailman3.h"
#include "deliver/relay.h"
#include "deliver/upstream.h"
#include "io/fd.h"

struct delivery {
        const struct config *config;
        const struct peer *peer;
        const struct envelope *envelope; /* of the transaction */
        struct gate gate;
        struct mailman3 mailman3; /* unless it is Mailman 2.1 */
        /* its answer to MAIL in this transaction; 0: not asked yet */
        struct reply upstream_mail;
        struct upstream upstream; /* for all who are no lists */
        struct addressee **lists; /* of this transaction */
        size_t n_lists;
        union copy *copies; /* of this message, one for each list; none if that fails */
        size_t n_copies;
};

/* What a list gets. */
union copy {
        struct mailman2_copy for2; /* if mailman-lists is set */
        struct mailman3_copy for3;
};

static const struct fixed_reply no_list = { 550, "5.1.1", "no such list" };
static const struct fixed_reply list_no_smtputf8 = { 451, "4.6.7",
                                                     "the list server does not support SMTPUTF8" };
static const struct fixed_reply too_many_lists = {
        452, "4.5.3", "too many lists: send the rest in another message"
};
static const struct fixed_reply no_memory = { 452, "4.3.1", "out of memory, try again later" };

static bool is_mailman2(const struct delivery *d) {
        return d->config->mailman_lists != NULL;
}

static void mailman_close(struct delivery *d) {
        mailman3_close(&d->mailman3);
        upstream_close(&d->upstream);
        gate_close(&d->gate);
        free(d->lists);
        free(d);
}

static int mailman_open(const struct delivery_context *x, struct delivery **ret) {
        struct delivery *d = calloc(1, sizeof(*d));
        int r;

        if (!d)
                return -ENOMEM;
        d->config = x->config;
        d->peer = x->peer;
        mailman3_init(&d->mailman3, x);
        d->lists = calloc((size_t) x->config->max_recipients, sizeof(struct addressee *));
        if ((r = upstream_init(&d->upstream, x)) == 0)
                r = gate_open(&d->gate, x->config);
        if (r < 0 || !d->lists) {
                mailman_close(d);
                return -ENOMEM;
        }
        *ret = d;
        return 0;
}

static void mailman_reset(struct delivery *d) {
        mailman3_reset(&d->mailman3);
        upstream_reset(&d->upstream);
        gate_reset(&d->gate);
        d->upstream_mail.code = 0;
        d->n_lists = 0;
}

/* No list server says what becomes of a message: DSN is for destinations that all do. */
static void mailman_hello(struct delivery *d, const char *helo, struct offer *o) {
        o->extensions = EXTENSION_8BITMIME | EXTENSION_ENHANCEDSTATUSCODES;
        if (d->config->upstream.n > 0)
                upstream_hello(&d->upstream, helo, o);
        o->extensions = (o->extensions & ~(unsigned) EXTENSION_DSN) | EXTENSION_PRDR;
        o->is_split =
                d->config->split && (d->config->is_upstream_lmtp || d->config->upstream.n == 0);
}

static const char *mailman_mechanisms(struct delivery *d) {
        return upstream_mechanisms(&d->upstream);
}

static void mailman_authenticate(struct delivery *d, const char *line, size_t n,
                                 struct challenge *ret_challenge, struct reply *ret_verdict) {
        upstream_authenticate(&d->upstream, line, n, ret_challenge, ret_verdict);
}

/* --- the envelope ----------------------------------------------------------------------------- */

/* Nobody is asked yet: only a recipient says who is concerned. */
static void mailman_sender(struct delivery *d, const struct envelope *e,
                           struct reply *ret_verdict) {
        d->envelope = e;
        reply_fix(ret_verdict, &delivery_sender_ok);
}

static const char *list_server(const struct delivery *d) {
        return d->config->mailman_lists ? d->config->mailman_lists : d->mailman3.endpoint;
}

static void ask_upstream(struct delivery *d, struct addressee *a, struct reply *ret_verdict) {
        a->destination = d->upstream.client.endpoint;
        if (d->upstream_mail.code == 0)
                upstream_sender(&d->upstream, d->envelope, &d->upstream_mail);
        if (reply_is_positive(&d->upstream_mail))
                upstream_recipient(&d->upstream, a, ret_verdict);
        else
                *ret_verdict = d->upstream_mail;
}

/* That it is none Mailman said. */
static void say_no_list(struct reply *ret_verdict) {
        reply_fix(ret_verdict, &no_list);
        ret_verdict->by = REPLY_BY_MAILMAN;
}

enum { DESCRIPTORS_SPARE = 10 }; /* beside the lists': of the upstream, the text, the log */

/* All lists of a message have their connections at once. */
static void add_list(struct delivery *d, struct addressee *a, struct reply *ret_verdict) {
        size_t n_connections = d->n_lists + 1 + DESCRIPTORS_SPARE;

        a->destination = list_server(d);
        if (is_mailman2(d) || fd_check_room(n_connections) == 0)
                d->lists[d->n_lists++] = a;
        else
                reply_fix(ret_verdict, &too_many_lists);
}

/* With split=yes: each list is a destination, and each recipient of an LMTP upstream, or else the
 * upstream. */
static bool is_elsewhere(const struct delivery *d, enum mailman_owner owner) {
        size_t n_others = d->upstream.transaction.n_addressees;
        bool is_alone = owner == MAILMAN_LIST || d->config->is_upstream_lmtp;

        return d->config->split && d->n_lists + (is_alone ? n_others : 0) > 0;
}

static void mailman_recipient(struct delivery *d, struct addressee *a, struct reply *ret_verdict) {
        enum mailman_owner owner;

        if (!relay_check(d->config, d->peer, upstream_is_authenticated(&d->upstream), &a->recipient,
                         ret_verdict) ||
            !gate_reserve(&d->gate, &a->recipient, ret_verdict))
                return;
        owner = is_mailman2(d) ? mailman2_find(d->config, d->envelope, &a->recipient, ret_verdict)
                               : mailman3_find(&d->mailman3, &a->recipient, ret_verdict);
        if (owner == MAILMAN_LIST && d->envelope->sender.is_smtputf8)
                reply_fix(ret_verdict, &list_no_smtputf8);
        else if (owner == MAILMAN_OTHER && d->config->upstream.n == 0)
                say_no_list(ret_verdict);
        else if (owner != MAILMAN_UNKNOWN && is_elsewhere(d, owner))
                reply_fix(ret_verdict, &delivery_elsewhere);
        else if (owner == MAILMAN_LIST)
                add_list(d, a, ret_verdict);
        else if (owner == MAILMAN_OTHER)
                ask_upstream(d, a, ret_verdict);
}

static bool is_list(const struct delivery *d, const struct addressee *a) {
        for (size_t i = 0; i < d->n_lists; i++)
                if (d->lists[i] == a)
                        return true;
        return false;
}

/* The names of lists have no letter case. */
static bool mailman_is_same(const struct delivery *d, const struct addressee *a,
                            const struct recipient *r) {
        const char *first = a->recipient.address.text, *second = r->address.text;

        if (strlen(second) != strlen(first) || !ascii_is_equal(first, second, strlen(first)))
                return false;
        return address_is_same(&a->recipient.address, &r->address) || is_list(d, a);
}

/* --- the message ------------------------------------------------------------------------------ */

static void add(const struct reply *verdict, struct reply *worst) {
        *worst = *reply_worst(worst, verdict);
}

static void add_worst(const struct transaction *t, struct reply *worst) {
        for (size_t i = 0; i < t->n_addressees; i++)
                add(&t->addressees[i]->verdict, worst);
}

static bool send_to_list(struct delivery *d, size_t i, struct envelope *e, struct message *m,
                         const struct trace *trace) {
        if (is_mailman2(d))
                return mailman2_prepare(d->config, e, d->lists[i], &d->copies[i].for2);
        return mailman3_send(&d->mailman3, &d->copies[i].for3, d->lists + i, &e->sender, m, trace);
}

/* While the upstream was sent its copy, a list server may have lost patience. */
static bool confirm_list(struct delivery *d, size_t i) {
        struct transaction *t = &d->copies[i].for3.transaction;

        return is_mailman2(d) || t->state != TRANSACTION_SENT || transaction_confirm(t);
}

static void drop_list(struct delivery *d, union copy *copy) {
        if (is_mailman2(d))
                return;
        transaction_abort(&copy->for3.transaction);
        client_close(&copy->for3.client);
}

static bool allot_copies(struct delivery *d, const struct envelope *e, struct message *m,
                         struct reply *ret_refusal) {
        d->copies = calloc(d->n_lists, sizeof(*d->copies));
        if (!d->copies)
                reply_fix(ret_refusal, &no_memory);
        else if (is_mailman2(d) && !mailman2_begin(d->config, e, m, ret_refusal))
                free(d->copies);
        else
                return true;
        return false;
}

/* What the lists' copies have in common. If that fails it is the verdict of each. */
static void begin_copies(struct delivery *d, const struct envelope *e, struct message *m,
                         struct reply *ret_worst) {
        struct reply refusal;

        d->n_copies = 0;
        if (d->n_lists == 0)
                return;
        if (allot_copies(d, e, m, &refusal)) {
                d->n_copies = d->n_lists;
                return;
        }
        for (size_t i = 0; i < d->n_lists; i++)
                d->lists[i]->verdict = refusal;
        add(&refusal, ret_worst);
}

/* What was not committed will not be. */
static void end_copies(struct delivery *d) {
        for (size_t i = 0; i < d->n_copies; i++)
                drop_list(d, d->copies + i);
        if (d->n_copies == 0)
                return;
        if (is_mailman2(d))
                mailman2_end();
        free(d->copies);
}

static void send_to_lists(struct delivery *d, struct envelope *e, struct message *m,
                          const struct trace *trace, struct reply *worst) {
        begin_copies(d, e, m, worst);
        for (size_t i = 0; i < d->n_copies; i++)
                if (!send_to_list(d, i, e, m, trace))
                        add(&d->lists[i]->verdict, worst);
}

/* All copies without their dots. false if one of them was refused; then `ret_worst` is the worst
 * refusal. */
static bool send_all(struct delivery *d, struct envelope *e, struct message *m,
                     struct reply *ret_worst) {
        const struct transaction *others = &d->upstream.transaction;
        struct trace trace;

        *ret_worst = (struct reply) { .code = 250 };
        text_trace(d->config, e, m, &trace);
        send_to_lists(d, e, m, &trace, ret_worst);
        if (!reply_is_positive(ret_worst) && !e->has_own_verdicts)
                return false;
        if (others->n_addressees > 0 && !upstream_send(&d->upstream, m, &trace))
                add_worst(others, ret_worst);
        for (size_t i = 0; i < d->n_copies; i++)
                if (!confirm_list(d, i))
                        add(&d->lists[i]->verdict, ret_worst);
        return reply_is_positive(ret_worst);
}

/* The upstream's dot. false if it takes the message for none of its addressees; then `ret_worst` is
 * the worst refusal. */
static bool commit_others(struct delivery *d, const char *id, struct reply *ret_worst) {
        struct transaction *others = &d->upstream.transaction;
        bool is_taken = others->n_addressees == 0;

        if (others->state == TRANSACTION_SENT)
                transaction_commit(others, id);
        for (size_t i = 0; i < others->n_addressees; i++)
                is_taken |= reply_is_positive(&others->addressees[i]->verdict);
        add_worst(others, ret_worst);
        return is_taken;
}

static void commit_list(struct delivery *d, union copy *copy, const char *id) {
        if (is_mailman2(d) && copy->for2.is_ready)
                mailman2_deliver(&copy->for2);
        else if (!is_mailman2(d) && copy->for3.transaction.state == TRANSACTION_SENT)
                mailman3_commit(&copy->for3, id);
}

/* If there is one reply for all, a refusal before anybody has the message is everybody's. In LMTP,
 * and with PRDR, each has its own. */
static void deliver(struct delivery *d, struct envelope *e, struct message *m) {
        bool is_each = e->has_own_verdicts, has_others = d->upstream.transaction.n_addressees > 0;
        struct reply refusal;
        bool goes_on = (send_all(d, e, m, &refusal) || is_each) &&
                       (commit_others(d, e->id, &refusal) || is_each);

        for (size_t i = 0; goes_on && i < d->n_copies; i++) {
                commit_list(d, d->copies + i, e->id);
                add(&d->lists[i]->verdict, &refusal);
                goes_on = is_each || has_others || i > 0 || reply_is_positive(&refusal);
        }
        if (!goes_on)
                delivery_verdict(e, &refusal);
        transaction_abort(&d->upstream.transaction); /* unless it is committed */
        end_copies(d);
}

static void describe(const struct delivery *d, struct envelope *e) {
        const char *upstream = d->upstream.client.endpoint;
        size_t half = sizeof(e->destination) / 2;
        size_t n = text_format(e->destination, half, "Mailman %s", list_server(d));

        text_format(e->destination + n, sizeof(e->destination) - n, ", upstream %s",
                    *upstream ? upstream : "none");
        e->upstream = &d->upstream.client.prologue.security;
}

static void mailman_process_message(struct delivery *d, struct envelope *e, struct message *m) {
        struct reply refusal;

        if (!text_check(m, &refusal))
                delivery_verdict(e, &refusal);
        else if (gate_ask(&d->gate, e, m))
                deliver(d, e, m);
        else
                return;
        describe(d, e);
}

static void mailman_idle(struct delivery *d) {
        upstream_idle(&d->upstream);
        mailman3_close(&d->mailman3);
}

static void mailman_needs(const struct delivery *d, struct services *ret) {
        ret->upstream = &d->config->upstream;
        gate_needs(&d->gate, ret);
        ret->mailman = d->config->mailman_lists ? NULL : d->mailman3.endpoint;
        ret->wrapper = d->config->mailman_wrapper;
        ret->lists = d->config->mailman_lists;
}

const struct delivery_ops mailman_ops = {
        .name = "mailman",
        .summary = "passes mail for lists to GNU Mailman, all other mail to the upstream",
        .options = "mailman mailman-wrapper mailman-lists " UPSTREAM_OPTIONS " " RELAY_OPTIONS,
        .check = mailman2_check,
        .needs_domain = true,
        .needs = mailman_needs,
        .open = mailman_open,
        .hello = mailman_hello,
        .mechanisms = mailman_mechanisms,
        .authenticate = mailman_authenticate,
        .sender = mailman_sender,
        .recipient = mailman_recipient,
        .is_same = mailman_is_same,
        .process_message = mailman_process_message,
        .reset = mailman_reset,
        .idle = mailman_idle,
        .close = mailman_close,
};
