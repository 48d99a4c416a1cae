/* SPDX-License-Identifier: MIT */
/* mail.c - the mail object under way. */
#include "mail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "io/wall_clock.h"

static const struct fixed_reply undelivered = { 451, "4.3.0", "not delivered, try again later" };

static void forget(struct mail *m) {
        spool_reset(&m->message.spool);
        m->message.header = (struct header_scan) { 0 };
        m->message.size = 0;
        m->message.has_nul = false;
        m->message.added = NULL;
        m->envelope.n_addressees = m->n_pending = 0;
        m->envelope.destination[0] = '\0';
        m->envelope.upstream = NULL;
        m->is_judged = m->is_sender_pending = false;
}

int mail_open(struct mail *m, const struct config *c, const struct peer *p, struct channel *client,
              const char *authenticated) {
        const struct delivery_context x = { c, p, client, authenticated };

        m->strategy = c->strategy;
        m->envelope.peer = p;
        m->envelope.patience = client->patience;
        m->envelope.authenticated = authenticated;
        spool_init(&m->message.spool);
        forget(m);
        m->envelope.addressees = c->max_recipients <= MAIL_FEW
                                         ? m->few
                                         : calloc((size_t) c->max_recipients, sizeof(m->few[0]));
        return m->envelope.addressees ? delivery_open(m->strategy, &x, &m->delivery) : -ENOMEM;
}

void mail_close(struct mail *m) {
        if (m->strategy->close)
                m->strategy->close(m->delivery);
        if (m->envelope.addressees != m->few)
                free(m->envelope.addressees);
}

void mail_reset(struct mail *m) {
        forget(m);
        if (m->strategy->reset)
                m->strategy->reset(m->delivery);
}

/* --- the envelope ----------------------------------------------------------------------------- */

/* Unique on this host: the time in microseconds, our pid, and a count. */
static void make_id(struct mail *m) {
        text_format(m->envelope.id, sizeof(m->envelope.id), "%llx.%x.%x",
                    (unsigned long long) wall_clock_now(), (unsigned) getpid(), ++m->n_ids);
}

static bool put(struct mail *m, struct addressee *a) {
        return m->strategy->put && m->strategy->put(m->delivery, &m->envelope, a);
}

enum mail_answer mail_sender(struct mail *m, const struct sender *sender,
                             struct reply *ret_verdict) {
        make_id(m);
        m->envelope.sender = *sender;
        m->refused.verdict.code = 0;
        m->is_sender_pending = put(m, NULL);
        if (m->is_sender_pending)
                return MAIL_DEFERRED;
        reply_fix(ret_verdict, m->strategy->sender ? &undelivered : &delivery_sender_ok);
        if (m->strategy->sender)
                m->strategy->sender(m->delivery, &m->envelope, ret_verdict);
        return MAIL_ANSWERED;
}

void mail_refused_sender(struct mail *m, const struct sender *sender) {
        make_id(m);
        m->envelope.sender = *sender;
}

static const struct addressee *find_same_among(const struct mail *m, const struct recipient *r,
                                               size_t from, size_t n) {
        const struct addressee *a = m->envelope.addressees + from;

        for (const struct addressee *end = a + n; a < end; a++)
                if (!a->same && m->strategy->is_same(m->delivery, a, r))
                        return a;
        return NULL;
}

static bool is_like_refused(const struct mail *m, const struct recipient *r) {
        return m->refused.verdict.code > 0 && m->strategy->is_same(m->delivery, &m->refused, r);
}

/* Among those in the envelope, those whose verdicts are still to come, and the last that was
 * refused. */
static const struct addressee *find_same(const struct mail *m, const struct recipient *r) {
        const struct addressee *a;

        if (!m->strategy->is_same || r->address.has_route) /* a route may not be allowed */
                return NULL;
        a = find_same_among(m, r, 0, m->envelope.n_addressees);
        if (!a)
                a = find_same_among(m, r, m->first_pending, m->n_pending);
        return !a && is_like_refused(m, r) ? &m->refused : a;
}

static void share(struct addressee *a) {
        a->verdict = a->same->verdict;
        a->destination = a->same->destination;
}

static void ask(struct mail *m, struct addressee *a) {
        if (a->same)
                share(a);
        else if (m->strategy->recipient) {
                reply_fix(&a->verdict, &undelivered);
                m->strategy->recipient(m->delivery, a, &a->verdict);
        } else
                reply_fix(&a->verdict, &delivery_recipient_ok);
}

static void remember(struct mail *m, const struct addressee *a) {
        if (!a->same && !reply_is_positive(&a->verdict))
                m->refused = *a;
}

enum mail_answer mail_recipient(struct mail *m, const struct recipient *recipient,
                                struct reply *ret_verdict) {
        struct addressee *a;

        if (m->n_pending == 0)
                m->first_pending = m->envelope.n_addressees;
        a = &m->envelope.addressees[m->first_pending + m->n_pending];
        a->recipient = *recipient;
        a->destination = NULL;
        a->is_held = false;
        a->same = find_same(m, recipient);
        if (!a->same && put(m, a)) {
                m->n_pending++;
                return MAIL_DEFERRED;
        }
        if (m->n_pending > 0 || m->is_sender_pending)
                return MAIL_LATER;
        ask(m, a);
        remember(m, a);
        *ret_verdict = a->verdict;
        return MAIL_ANSWERED;
}

void mail_hold(struct mail *m, const struct recipient *recipient, struct reply *ret_verdict) {
        struct addressee *a = &m->envelope.addressees[m->envelope.n_addressees];

        reply_fix(ret_verdict, &delivery_recipient_ok);
        *a = (struct addressee) { .recipient = *recipient,
                                  .verdict = *ret_verdict,
                                  .is_held = true };
}

/* The addressee moves to the end of those that are in the envelope. */
void mail_collect(struct mail *m, bool is_sender, struct reply *ret_verdict) {
        struct addressee *a = is_sender ? NULL : &m->envelope.addressees[m->envelope.n_addressees];

        if (a && m->first_pending > m->envelope.n_addressees)
                *a = m->envelope.addressees[m->first_pending];
        m->is_sender_pending = false;
        m->first_pending += a != NULL;
        m->n_pending -= a != NULL;
        reply_fix(ret_verdict, &undelivered);
        m->strategy->collect(m->delivery, a, ret_verdict);
        if (!a)
                return;
        a->verdict = *ret_verdict;
        remember(m, a);
}

void mail_accept(struct mail *m, size_t n_recipients) {
        m->envelope.n_addressees = n_recipients;
}

/* --- the content ------------------------------------------------------------------------------ */

void mail_append(struct mail *m, const char *text, size_t n) {
        if (spool_append(&m->message.spool, text, n) < 0)
                return;
        m->message.has_nul |= memchr(text, '\0', n) != NULL;
        if (!m->message.header.is_over)
                header_scan(&m->message.header, text, n);
}

static void share_verdicts(struct envelope *e) {
        for (size_t i = 0; i < e->n_addressees; i++)
                if (e->addressees[i].same)
                        share(e->addressees + i);
}

/* Whether there is somebody for the strategy. */
static bool has_taker(const struct envelope *e) {
        for (size_t i = 0; i < e->n_addressees; i++)
                if (!e->addressees[i].is_held)
                        return true;
        return false;
}

void mail_deliver(struct mail *m, uint64_t size, const char *helo, const char *protocol) {
        int error = m->message.spool.error;
        struct reply verdict;

        m->message.size = size;
        m->envelope.protocol = protocol;
        m->envelope.helo = helo;
        m->is_judged = true;
        reply_fix(&verdict, &undelivered);
        if (error < 0)
                delivery_storage_verdict(error, &verdict);
        delivery_verdict(&m->envelope, &verdict);
        if (error == 0 && has_taker(&m->envelope))
                m->strategy->process_message(m->delivery, &m->envelope, &m->message);
        share_verdicts(&m->envelope);
}

void mail_judge(struct mail *m, const struct reply *verdict) {
        m->is_judged = true;
        delivery_verdict(&m->envelope, verdict);
}

void mail_refused(struct mail *m) {
        m->is_judged = true;
}

struct outcome mail_outcome(const struct mail *m) {
        const struct addressee *a = m->envelope.addressees;
        struct outcome o = { &a->verdict, &a->verdict };

        for (size_t i = 1; i < m->envelope.n_addressees; i++) {
                o.worst = reply_worst(o.worst, &a[i].verdict);
                o.best = reply_best(o.best, &a[i].verdict);
        }
        return o;
}
