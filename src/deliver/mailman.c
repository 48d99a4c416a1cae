/* deliver/mailman.c - strategy mailman: addresses of lists to GNU Mailman, all others to the upstream.
 *
 * At RCPT each address is put to Mailman first: to the LMTP server of Mailman 3, whose answer to RCPT says whether it is a
 * list's, or to the lists directory of Mailman 2.1. Of a message for lists and others every copy is sent, except for its
 * final dot, before the first dot follows: until then whoever refuses or fails leaves nothing delivered anywhere. Then the
 * upstream is first, whose verdict is the least foreseeable, and each list has an LMTP transaction of its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/ascii.h"
#include "base/text.h"
#include "deliver/mailman2.h"
#include "deliver/relay.h"
#include "deliver/text.h"
#include "deliver/upstream.h"
#include "io/log.h"

enum { MAILMAN_SECONDS = 300 };

struct delivery {
        const struct config *config;
        const struct peer *peer;
        const struct envelope *envelope; /* of the transaction */
        const char *endpoint;            /* of Mailman 3 */
        struct client_rules rules;       /* how to speak to it */
        bool has_asked_mailman;          /* in this transaction: it has heard MAIL */
        bool is_mailman_started;         /* it has heard MAIL, and no RSET */
        bool is_mailman_silent;          /* in this transaction: it did not answer in time, and is not waited for again */
        bool has_asked_upstream;         /* in this transaction, with the answer to MAIL: */
        struct reply upstream_mail;
        struct client mailman;           /* which tells what is a list */
        struct upstream upstream;
};

/* A list's copy of the message on its way. */
struct copy {
        struct addressee *addressee;
        bool is_sent; /* but for its final dot */
        struct client client;
};

/* What becomes of one message. */
struct plan {
        struct copy *copies; /* for Mailman 3, one for each list */
        size_t n_copies;
        bool has_others;     /* addressees that are no lists */
        bool is_upstream_sent;
};

static const struct fixed_reply list_ok = { 250, "2.1.5", "list OK" };
static const struct fixed_reply no_list = { 550, "5.1.1", "no such list" };
static const struct fixed_reply mailman_gone = { 451, "4.4.1", "the list server cannot be reached, try again later" };
static const struct fixed_reply mailman_lost = { 451, "4.4.2", "the list server was lost, try again later" };
static const struct fixed_reply mailman_failed = { 451, "4.3.0", "the list server did not take it, try again later" };
static const struct fixed_reply list_no_smtputf8 = { 550, "5.6.7", "the list server does not take SMTPUTF8" };
static const struct fixed_reply no_memory = { 452, "4.3.1", "out of memory, try again later" };

static int mailman_open(const struct config *c, const struct peer *p, struct delivery **ret) {
        struct delivery *d = calloc(1, sizeof(*d));

        if (!d)
                return -ENOMEM;
        d->config = c;
        d->peer = p;
        d->endpoint = c->mailman ? c->mailman : MAILMAN_DEFAULT;
        d->rules = (struct client_rules) {
                .hostname = c->hostname,
                .is_lmtp = true,
                .timeout = c->upstream_timeout > 0 ? c->upstream_timeout : MAILMAN_SECONDS,
                .dot_timeout = c->upstream_timeout > 0 ? c->upstream_timeout : CLIENT_DOT_SECONDS,
        };
        upstream_init(&d->upstream, c, p);
        *ret = d;
        return 0;
}

static void mailman_close(struct delivery *d) {
        client_close(&d->mailman);
        upstream_close(&d->upstream);
        free(d);
}

static void mailman_reset(struct delivery *d) {
        d->has_asked_mailman = d->is_mailman_silent = d->has_asked_upstream = false;
}

static unsigned mailman_hello(struct delivery *d, const char *helo, uint64_t *max_size) {
        if (d->config->upstream.n == 0)
                return EXTENSION_8BITMIME;
        return upstream_hello(&d->upstream, helo, max_size);
}

/* --- what is a list -------------------------------------------------------------------------------------- */

static void log_mailman(const struct client *c) {
        log_say(LOG_WARNING, "Mailman %s: %s", c->endpoint, c->why);
}

/* One command to Mailman, which knows no pipelining: what has come before it is no answer to it. */
static int say_mail(struct client *c, const struct sender *s, struct reply *ret) {
        int r = client_look(c);

        if (r < 0)
                return r;
        client_put_mail(c, s);
        return client_get(c, "MAIL", ret);
}

static int say_rcpt(struct client *c, const struct recipient *recipient, struct reply *ret) {
        int r = client_look(c);

        if (r < 0)
                return r;
        client_put_rcpt(c, recipient);
        return client_get(c, "RCPT", ret);
}

/* RSET if there was a transaction, and MAIL, unless both were said in this one. The sender is the null one: the question is
 * what is a list, and nothing about the sender or the size may answer it. */
static int begin(struct delivery *d, struct reply *ret) {
        static const struct sender nobody;
        int r = 0;

        if (d->has_asked_mailman)
                return 0;
        if (d->is_mailman_started) {
                client_put_rset(&d->mailman);
                r = client_get(&d->mailman, "RSET", ret);
        }
        if (r == 0)
                r = say_mail(&d->mailman, &nobody, ret);
        d->is_mailman_started = d->has_asked_mailman = r == 0 && reply_is_positive(ret);
        return r;
}

/* Puts the address to Mailman 3. 0 with its reply, to MAIL if that was refused; or a negative errno. */
static int ask(struct delivery *d, const struct recipient *recipient, struct reply *ret) {
        int r = client_look(&d->mailman);

        if (r < 0) {
                d->has_asked_mailman = d->is_mailman_started = false;
                r = client_open(&d->mailman, d->endpoint, "8024", &d->rules);
        }
        if (r == 0)
                r = begin(d, ret);
        if (r == 0 && d->has_asked_mailman)
                r = say_rcpt(&d->mailman, recipient, ret);
        return r;
}

/* How Mailman says that there is no such list: 550, or 553 and 501 of what can be no list's address. */
static bool is_no(const struct reply *r) {
        return r->code == 550 || r->code == 553 || r->code == 501;
}

/* Whether the address is a list's. Where that cannot be known, `ret_verdict` is a temporary failure, and true says that the
 * verdict stands: never is "not a list" said of what might be one. */
static bool is_list3(struct delivery *d, struct addressee *a, struct reply *ret_verdict) {
        struct reply reply = { 0 };
        int r;

        if (*address_domain(&a->recipient.address) == '\0' || a->recipient.address.is_utf8)
                return false; /* Postmaster; and Mailman's addresses are ASCII */
        r = d->is_mailman_silent ? -ETIMEDOUT : ask(d, &a->recipient, &reply);
        if (r < 0 && r != -ETIMEDOUT) {
                log_mailman(&d->mailman);
                r = ask(d, &a->recipient, &reply);
        }
        if (r < 0) {
                log_mailman(&d->mailman);
                d->is_mailman_silent = r == -ETIMEDOUT;
                reply_fix(ret_verdict, &mailman_gone);
                return true;
        }
        if (d->has_asked_mailman && is_no(&reply))
                return false;
        a->is_list = d->has_asked_mailman && reply_is_positive(&reply);
        *ret_verdict = reply;
        if (!a->is_list && !reply_is_temporary(&reply))
                reply_fix(ret_verdict, &mailman_failed);
        upstream_pass_on(ret_verdict);
        return true;
}

static bool is_list2(struct delivery *d, struct addressee *a, struct reply *ret_verdict) {
        const char *lists = d->config->mailman_lists;
        struct mailman2_target target;
        int r = mailman2_find(lists, &a->recipient.address, &target);

        a->is_list = r > 0;
        if (r > 0)
                reply_fix(ret_verdict, &list_ok);
        if (r < 0) { /* it might be one */
                log_say(LOG_ERR, "cannot look for lists in mailman-lists=%s: %s", lists, strerror(-r));
                reply_fix(ret_verdict, &mailman_gone);
        }
        return r != 0;
}

/* --- the envelope ---------------------------------------------------------------------------------------- */

/* Nobody is asked yet: only a recipient says who is concerned. */
static void mailman_sender(struct delivery *d, const struct envelope *e, struct reply *ret_verdict) {
        (void) ret_verdict;
        d->envelope = e;
}

static void ask_upstream(struct delivery *d, struct addressee *a, struct reply *ret_verdict) {
        if (!d->has_asked_upstream)
                upstream_sender(&d->upstream, d->envelope, &d->upstream_mail);
        d->has_asked_upstream = true;
        if (reply_is_positive(&d->upstream_mail))
                upstream_recipient(&d->upstream, &a->recipient, ret_verdict);
        else
                *ret_verdict = d->upstream_mail;
}

static void mailman_recipient(struct delivery *d, struct addressee *a, struct reply *ret_verdict) {
        bool is_known;

        if (!relay_is_allowed(d->config, d->peer, &a->recipient, ret_verdict))
                return;
        is_known = d->config->mailman_lists ? is_list2(d, a, ret_verdict) : is_list3(d, a, ret_verdict);
        if (a->is_list && d->envelope->sender.is_smtputf8)
                reply_fix(ret_verdict, &list_no_smtputf8);
        if (is_known)
                return;
        if (d->config->upstream.n > 0)
                ask_upstream(d, a, ret_verdict);
        else
                reply_fix(ret_verdict, &no_list);
}

/* --- Mailman 3 ------------------------------------------------------------------------------------------- */

/* Asks one thing; the answer must have this code, or becomes the addressee's verdict. */
static bool is_answered(struct copy *copy, int r, const struct reply *reply, int code) {
        if (r == 0 && reply->code / 100 == code / 100)
                return true;
        copy->addressee->verdict = *reply;
        if (r == 0 && reply->code >= 400)
                upstream_pass_on(&copy->addressee->verdict);
        else
                reply_fix(&copy->addressee->verdict, &mailman_lost);
        if (r < 0)
                log_mailman(&copy->client);
        client_abort(&copy->client);
        return false;
}

/* A transaction up to, but without, the final dot. */
static bool send_copy(struct delivery *d, struct copy *copy, struct message *m, const struct trace *t) {
        struct client *c = &copy->client;
        struct reply reply = { 0 };

        if (client_open(c, d->endpoint, "8024", &d->rules) < 0) {
                log_mailman(c);
                reply_fix(&copy->addressee->verdict, &mailman_gone);
                return false;
        }
        if (c->max_size > 0 && m->size + t->n_received + t->n_x_peer + 5 > c->max_size) {
                reply_set(&copy->addressee->verdict, 552, "5.3.4", "message too big for the list server");
                client_close(c);
                return false;
        }
        copy->is_sent = is_answered(copy, say_mail(c, &d->envelope->sender, &reply), &reply, 250) &&
                        is_answered(copy, say_rcpt(c, &copy->addressee->recipient, &reply), &reply, 250) &&
                        is_answered(copy, client_data(c, &reply), &reply, 354) &&
                        is_answered(copy, text_send(c, m, t), &reply, 354);
        return copy->is_sent;
}

/* The final dot. Mailman's "550" here is what it says of an error of its own; the list was there at RCPT. */
static void commit_copy(struct copy *copy, const struct envelope *e) {
        struct reply *verdict = &copy->addressee->verdict;
        int r = client_look(&copy->client);
        bool is_said = r == 0;

        if (r == 0)
                r = client_end(&copy->client);
        if (r == 0)
                r = client_verdict(&copy->client, verdict);
        if (r < 0)
                reply_fix(verdict, &mailman_lost);
        else if (verdict->code == 550)
                reply_fix(verdict, &mailman_failed);
        if (r < 0 && is_said)
                log_say(LOG_WARNING, "duplicate possible: Mailman %s may have taken message %s for <%s>: %s",
                        copy->client.endpoint, e->id, copy->addressee->recipient.address.text, copy->client.why);
        upstream_pass_on(verdict);
        client_close(&copy->client);
}

/* --- Mailman 2.1 ----------------------------------------------------------------------------------------- */

static int append_line(struct message *m, const char *name, const char *value) {
        char line[ADDRESS_MAX + 32];
        size_t n = text_format(line, sizeof(line), "%s: %s\n", name, value);

        m->size += n + 1;
        return spool_append(&m->spool, line, n);
}

static int append_part(struct message *to, struct message *m, uint64_t from, uint64_t end) {
        while (from < end) {
                const char *text;
                int64_t n = spool_read(&m->spool, from, &text);

                if (n <= 0)
                        return n < 0 ? (int) n : -EIO;
                if ((uint64_t) n > end - from)
                        n = (int64_t) (end - from);
                if (spool_append(&to->spool, text, (size_t) n) < 0)
                        return to->spool.error;
                from += (uint64_t) n;
        }
        return 0;
}

/* The message as the wrapper gets it: as others do, and with From and Date, which Mailman needs. */
static int make_text(struct delivery *d, const struct envelope *e, struct message *m, struct message *ret) {
        const char *sender = address_is_null(&e->sender.address) ? "MAILER-DAEMON" : e->sender.address.text;
        struct trace trace;
        char date[DATE_MAX];
        int r;

        text_trace(d->config, e, &trace);
        spool_init(&ret->spool);
        ret->size = m->size + trace.n_received + trace.n_x_peer + 5;
        r = spool_append(&ret->spool, trace.received, trace.n_received);
        if (r == 0 && m->header.n_from == 0)
                r = append_line(ret, "From", sender);
        date_format(time(NULL), date);
        if (r == 0 && m->header.n_date == 0)
                r = append_line(ret, "Date", date);
        if (r == 0)
                r = append_part(ret, m, 0, m->header.n_header);
        if (r == 0)
                r = spool_append(&ret->spool, trace.x_peer, trace.n_x_peer);
        return r == 0 ? append_part(ret, m, m->header.n_header, m->spool.size) : r;
}

static void run_wrappers(struct delivery *d, struct envelope *e, struct message *m) {
        static struct message text;
        int r = make_text(d, e, m, &text);

        for (struct addressee *a = e->addressees; a < e->addressees + e->n_addressees; a++)
                if (a->is_list && r == 0)
                        mailman2_deliver(d->config, e, a, &text);
                else if (a->is_list)
                        delivery_storage_verdict(r, &a->verdict);
        spool_reset(&text.spool);
}

/* --- the message ----------------------------------------------------------------------------------------- */

static size_t count_lists(const struct envelope *e) {
        size_t n = 0;

        for (size_t i = 0; i < e->n_addressees; i++)
                n += e->addressees[i].is_list;
        return n;
}

/* Sends all copies without their dots. false if one of them was refused; then `ret_worst` is the worst refusal. */
static bool send_all(struct delivery *d, struct envelope *e, struct message *m, struct plan *plan, struct reply *ret_worst) {
        struct reply refusal;
        struct trace trace;

        *ret_worst = (struct reply) { .code = 250 };
        text_trace(d->config, e, &trace);
        plan->is_upstream_sent = plan->has_others && upstream_send(&d->upstream, m, &refusal);
        if (plan->has_others && !plan->is_upstream_sent) {
                *ret_worst = refusal;
                for (size_t i = 0; i < e->n_addressees; i++)
                        if (!e->addressees[i].is_list)
                                e->addressees[i].verdict = refusal;
        }
        for (size_t i = 0; i < plan->n_copies; i++)
                if (!send_copy(d, plan->copies + i, m, &trace))
                        *ret_worst = *reply_worst(ret_worst, &plan->copies[i].addressee->verdict);
        return reply_is_positive(ret_worst);
}

/* Leaves all that was sent without a dot, so that nobody has the message. */
static void abort_all(struct delivery *d, struct plan *plan) {
        if (plan->is_upstream_sent)
                upstream_abort(&d->upstream);
        for (size_t i = 0; i < plan->n_copies; i++)
                client_abort(&plan->copies[i].client);
}

static void commit_lists(struct delivery *d, struct envelope *e, struct message *m, struct plan *plan) {
        for (size_t i = 0; i < plan->n_copies; i++)
                if (plan->copies[i].is_sent)
                        commit_copy(plan->copies + i, e);
        if (d->config->mailman_lists)
                run_wrappers(d, e, m);
}

/* The upstream's dot. Whether it took the message for anybody, or had nobody to take it for; if not, `ret_refusal` is what
 * it said. */
static bool commit_upstream(struct delivery *d, struct envelope *e, const struct plan *plan, struct reply *ret_refusal) {
        bool is_taken = !plan->is_upstream_sent;

        if (plan->is_upstream_sent)
                upstream_commit(&d->upstream, e);
        *ret_refusal = (struct reply) { .code = 250 };
        for (const struct addressee *a = e->addressees; a < e->addressees + e->n_addressees; a++)
                if (!a->is_list) {
                        is_taken |= reply_is_positive(&a->verdict);
                        *ret_refusal = *reply_worst(ret_refusal, &a->verdict);
                }
        return is_taken;
}

/* Where there is one reply for all (SMTP), a refusal before anybody has the message is everybody's. In LMTP each has his. */
static void deliver(struct delivery *d, struct envelope *e, struct message *m, struct plan *plan) {
        struct reply refusal;

        if (!send_all(d, e, m, plan, &refusal) && !d->config->is_lmtp) {
                abort_all(d, plan);
                delivery_verdict(e, &refusal);
        } else if (!commit_upstream(d, e, plan, &refusal) && !d->config->is_lmtp) {
                plan->is_upstream_sent = false;
                abort_all(d, plan);
                delivery_verdict(e, &refusal);
        } else
                commit_lists(d, e, m, plan);
}

static bool make_plan(const struct delivery *d, struct envelope *e, struct plan *ret) {
        size_t n_lists = count_lists(e);

        *ret = (struct plan) { .has_others = n_lists < e->n_addressees };
        if (n_lists == 0 || d->config->mailman_lists)
                return true;
        ret->copies = calloc(n_lists, sizeof(*ret->copies));
        for (size_t i = 0; ret->copies && i < e->n_addressees; i++)
                if (e->addressees[i].is_list)
                        ret->copies[ret->n_copies++].addressee = e->addressees + i;
        return ret->copies != NULL;
}

static void describe(const struct delivery *d, struct envelope *e) {
        const char *lists = d->config->mailman_lists ? d->config->mailman_lists : d->endpoint, *upstream = d->upstream.client.endpoint;
        size_t n = text_format(e->destination, sizeof(e->destination) / 2, "Mailman %s", lists);

        text_format(e->destination + n, sizeof(e->destination) - n, ", upstream %s", *upstream ? upstream : "none");
}

static void mailman_process_message(struct delivery *d, struct envelope *e, struct message *m) {
        struct reply verdict;
        struct plan plan;

        describe(d, e);
        if (!text_is_fit(m, &verdict))
                delivery_verdict(e, &verdict);
        else if (!make_plan(d, e, &plan)) {
                reply_fix(&verdict, &no_memory);
                delivery_verdict(e, &verdict);
        } else {
                deliver(d, e, m, &plan);
                free(plan.copies);
        }
}

const struct delivery_ops mailman_ops = {
        .name = "mailman",
        .needs = NEEDS_NETWORK,
        .open = mailman_open,
        .hello = mailman_hello,
        .sender = mailman_sender,
        .recipient = mailman_recipient,
        .process_message = mailman_process_message,
        .reset = mailman_reset,
        .close = mailman_close,
};
