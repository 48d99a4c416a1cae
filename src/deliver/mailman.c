/* deliver/mailman.c - strategy mailman: addresses of lists to GNU Mailman, all others to the
 * upstream.
 *
 * At RCPT each address is put to Mailman first: to the LMTP server of Mailman 3, whose answer to
 * RCPT says whether it is a list's, or to the lists directory of Mailman 2.1. Of a message for
 * lists and others every copy is sent, except for its final dot, before the first dot follows:
 * until then whoever refuses or fails leaves nothing delivered anywhere. Then the upstream is
 * first, whose verdict is the least foreseeable, and each list has an LMTP transaction of its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "deliver/mailman2.h"
#include "deliver/mailman3.h"
#include "deliver/relay.h"
#include "deliver/upstream.h"
#include "io/log.h"

struct delivery {
        const struct config *config;
        const struct peer *peer;
        const struct envelope *envelope; /* of the transaction */
        struct mailman3 mailman3;        /* unless it is Mailman 2.1 */
        struct reply upstream_mail;      /* its answer to MAIL in this transaction; 0: not asked yet */
        struct upstream upstream;        /* for all who are no lists */
        struct addressee **lists;        /* of this transaction */
        size_t n_lists;
        struct mailman3_copy *copies;    /* of this message, one for each list */
        size_t n_copies;
};

static const struct fixed_reply list_ok = { 250, "2.1.5", "list OK" };
static const struct fixed_reply no_list = { 550, "5.1.1", "no such list" };
static const struct fixed_reply list_no_smtputf8 = { 550, "5.6.7",
                                                     "the list server does not take SMTPUTF8" };
static const struct fixed_reply no_memory = { 452, "4.3.1", "out of memory, try again later" };

static void mailman_close(struct delivery *d) {
        mailman3_close(&d->mailman3);
        upstream_close(&d->upstream);
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
        r = upstream_init(&d->upstream, x);
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
        d->upstream_mail.code = 0;
        d->n_lists = 0;
}

static unsigned mailman_hello(struct delivery *d, const char *helo, uint64_t *max_size) {
        if (d->config->upstream.n == 0)
                return EXTENSION_8BITMIME;
        return upstream_hello(&d->upstream, helo, max_size);
}

/* --- whose an address is ---------------------------------------------------------------------- */

static enum mailman_owner find_owner2(const struct delivery *d, const struct recipient *recipient,
                                      struct reply *ret_verdict) {
        const char *lists = d->config->mailman_lists;
        struct mailman2_target target;
        int r = mailman2_find(lists, &recipient->address, &target);

        if (r == 0)
                return MAILMAN_OTHER;
        reply_fix(ret_verdict, r > 0 ? &list_ok : &mailman3_gone);
        if (r < 0)
                log_say(LOG_ERR, "cannot look for lists in mailman-lists=%s: %s", lists,
                        strerror(-r));
        return r > 0 ? MAILMAN_LIST : MAILMAN_UNKNOWN;
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

static void add_list(struct delivery *d, struct addressee *a) {
        a->destination = list_server(d);
        d->lists[d->n_lists++] = a;
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

static void mailman_recipient(struct delivery *d, struct addressee *a, struct reply *ret_verdict) {
        bool is_mailman2 = d->config->mailman_lists;
        enum mailman_owner owner;

        if (!relay_check(d->config, d->peer, &a->recipient, ret_verdict))
                return;
        owner = is_mailman2 ? find_owner2(d, &a->recipient, ret_verdict)
                            : mailman3_find(&d->mailman3, &a->recipient, ret_verdict);
        if (owner == MAILMAN_LIST && d->envelope->sender.is_smtputf8)
                reply_fix(ret_verdict, &list_no_smtputf8);
        else if (owner == MAILMAN_LIST)
                add_list(d, a);
        else if (owner == MAILMAN_OTHER && d->config->upstream.n > 0)
                ask_upstream(d, a, ret_verdict);
        else if (owner == MAILMAN_OTHER)
                say_no_list(ret_verdict);
}

/* --- the message ------------------------------------------------------------------------------ */

static void add_worst(const struct transaction *t, struct reply *worst) {
        for (size_t i = 0; i < t->n_addressees; i++)
                *worst = *reply_worst(worst, &t->addressees[i]->verdict);
}

/* All copies without their dots. false if one of them was refused; then `ret_worst` is the worst
 * refusal. */
static bool send_all(struct delivery *d, struct envelope *e, struct message *m,
                     struct reply *ret_worst) {
        const struct transaction *others = &d->upstream.transaction;
        struct trace trace;

        *ret_worst = (struct reply) { .code = 250 };
        text_trace(d->config, e, m, &trace);
        if (others->n_addressees > 0 && !upstream_send(&d->upstream, m, &trace))
                add_worst(others, ret_worst);
        for (size_t i = 0; i < d->n_copies; i++)
                if (!mailman3_send(&d->mailman3, d->copies + i, d->lists + i, &e->sender, m,
                                   &trace))
                        add_worst(&d->copies[i].transaction, ret_worst);
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

static void commit_lists(struct delivery *d, struct envelope *e, struct message *m) {
        for (size_t i = 0; i < d->n_copies; i++)
                if (d->copies[i].transaction.state == TRANSACTION_SENT)
                        mailman3_commit(d->copies + i, e->id);
        if (d->config->mailman_lists && d->n_lists > 0)
                mailman2_deliver(d->config, e, d->lists, d->n_lists, m);
}

/* If there is one reply for all (SMTP), a refusal before anybody has the message is everybody's. In
 * LMTP each has its own. */
static void deliver(struct delivery *d, struct envelope *e, struct message *m) {
        bool is_lmtp = d->config->is_lmtp;
        struct reply refusal;

        if ((send_all(d, e, m, &refusal) || is_lmtp) &&
            (commit_others(d, e->id, &refusal) || is_lmtp))
                commit_lists(d, e, m);
        else {
                transaction_abort(&d->upstream.transaction);
                for (size_t i = 0; i < d->n_copies; i++)
                        transaction_abort(&d->copies[i].transaction);
                delivery_verdict(e, &refusal);
        }
        for (size_t i = 0; i < d->n_copies; i++)
                client_close(&d->copies[i].client);
}

static void describe(const struct delivery *d, struct envelope *e) {
        const char *upstream = d->upstream.client.endpoint;
        size_t n = text_format(e->destination, sizeof(e->destination) / 2, "Mailman %s",
                               list_server(d));

        text_format(e->destination + n, sizeof(e->destination) - n, ", upstream %s",
                    *upstream ? upstream : "none");
}

static void mailman_process_message(struct delivery *d, struct envelope *e, struct message *m) {
        struct reply verdict;

        describe(d, e);
        d->n_copies = d->config->mailman_lists ? 0 : d->n_lists;
        d->copies = d->n_copies > 0 ? calloc(d->n_copies, sizeof(*d->copies)) : NULL;
        if (!text_check(m, &verdict))
                delivery_verdict(e, &verdict);
        else if (d->n_copies > 0 && !d->copies) {
                reply_fix(&verdict, &no_memory);
                delivery_verdict(e, &verdict);
        } else
                deliver(d, e, m);
        free(d->copies);
}

static const char *mailman_check(const struct config *c) {
        return !c->mailman_wrapper == !c->mailman_lists
                       ? NULL
                       : "Mailman 2.1 needs both mailman-wrapper and mailman-lists";
}

const struct delivery_ops mailman_ops = {
        .name = "mailman",
        .summary = "lists go to GNU Mailman, all others to the upstream",
        .options = "mailman mailman-wrapper mailman-lists " UPSTREAM_OPTIONS " " RELAY_OPTIONS,
        .check = mailman_check,
        .needs = NEEDS_NETWORK,
        .open = mailman_open,
        .hello = mailman_hello,
        .sender = mailman_sender,
        .recipient = mailman_recipient,
        .process_message = mailman_process_message,
        .reset = mailman_reset,
        .close = mailman_close,
};
