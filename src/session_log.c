/* SPDX-License-Identifier: MIT */
/* session_log.c - what a session tells the log and the service manager. */
#include "session_log.h"

#include <string.h>

#include "base/text.h"
#include "io/deadline.h"
#include "io/log.h"
#include "io/notify.h"

const struct session_ending session_ends[] = {
        [GOES_ON] = { NULL },
        [END_QUIT] = { NULL },
        [END_REFUSED] = { NULL, .is_ours = true },
        [END_CLOSED] = { "the client closed the connection" },
        [END_LOST] = { "the connection was lost", .is_loss = true },
        [END_GONE] = { "the client is gone", .is_loss = true },
        [END_DEAF] = { "the client does not read our replies", .is_loss = true },
        [END_STOPPED] = { "shutting down, and the client does not read our replies",
                          .is_loss = true },
        [END_INJECTED] = { "octets came behind STARTTLS", .is_ours = true },
        [END_NO_TLS] = { "no TLS", .is_ours = true },
        [END_NO_HEADER] = { "no PROXY header" },
};

static void log_reason(struct log_line *l, const char *key, const struct session_log *s,
                       enum session_end end) {
        const struct reply *last = &s->server->reply;

        if (end == END_NO_TLS || end == END_NO_HEADER)
                log_field(l, key, "%s: %s", session_ends[end].text, s->why);
        else if (session_ends[end].text)
                log_field(l, key, "%s", session_ends[end].text);
        else
                log_field(l, key, "%u %.100s", (unsigned) last->code, last->text);
}

static void log_duration(struct log_line *l, int64_t then) {
        uint64_t ms = (uint64_t) (deadline_now() - then);

        log_field(l, "duration", "%llu.%03u", (unsigned long long) ms / 1000,
                  (unsigned) (ms % 1000));
}

static void log_verdict(struct log_line *l, const struct reply *r) {
        log_said(l, "verdict", "%u%s%s %s", (unsigned) r->code, *r->enhanced ? " " : "",
                 r->enhanced, r->text);
}

/* What the client chose: after all that it did not. */
static void log_helo(struct log_line *l, const struct session_log *s) {
        log_chosen(l, "helo", "%s", s->server->helo);
}

static void log_address(struct log_line *l, const char *key, const struct address *a) {
        log_chosen(l, key, "<%s>", a->text);
}

/* As many as the line has room for. */
static void log_recipients(struct log_line *l, const struct envelope *e) {
        for (size_t i = 0; i < e->n_addressees && log_has_room(l); i++)
                log_address(l, "to", &e->addressees[i].recipient.address);
}

static bool is_unanimous(const struct envelope *e) {
        for (size_t i = 1; i < e->n_addressees; i++)
                if (!reply_is_same(&e->addressees[i].verdict, &e->addressees[0].verdict))
                        return false;
        return true;
}

static void log_id(struct log_line *l, const struct session_log *s) {
        log_field(l, "id", "%s", s->envelope->id);
        log_peer(l, s->peer);
}

/* Ours, or else that of the balancer, whether it counts or not. */
static const struct security *tls_of(const struct session_log *s) {
        const struct security *ours = s->envelope->security;

        return security_is_on(ours) ? ours : s->outer;
}

/* An engine need not know the cipher. */
static void log_tls(struct log_line *l, const struct session_log *s) {
        const struct security *tls = tls_of(s);

        if (!security_is_on(tls))
                return;
        log_field(l, "tls", "%s%s%s%s", tls->protocol, *tls->cipher ? " " : "", tls->cipher,
                  tls->is_at_balancer ? " (at the balancer)" : "");
        if (*tls->fingerprint)
                log_field(l, "client-certificate", "sha256:%s", tls->fingerprint);
}

static void log_auth(struct log_line *l, const struct session_log *s) {
        if (*s->server->authenticated)
                log_field(l, "auth", "%s", s->server->authenticated);
}

static void log_sni(struct log_line *l, const struct session_log *s) {
        const struct security *tls = tls_of(s);

        if (*tls->sni)
                log_chosen(l, "sni", "%s", tls->sni);
}

static void log_kind(struct log_line *l, const struct session_log *s) {
        log_field(l, "protocol", "%s", server_protocol(s->server));
        log_tls(l, s);
        log_auth(l, s);
        log_number(l, "size", s->server->size);
        log_number(l, "recipients", s->envelope->n_addressees);
}

static void log_names(struct log_line *l, const struct session_log *s) {
        log_sni(l, s);
        log_helo(l, s);
        log_address(l, "from", &s->envelope->sender.address);
}

static const char *destination_of(const struct envelope *e, const struct addressee *a) {
        return a->destination ? a->destination : e->destination;
}

static void log_recipient(const struct envelope *e, const struct addressee *a) {
        struct log_line l;

        log_start(&l, "recipient");
        log_field(&l, "id", "%s", e->id);
        log_verdict(&l, &a->verdict);
        log_field(&l, "by", "%s", reply_author(&a->verdict));
        if (!a->is_held) /* which nobody else has heard of */
                log_field(&l, "destination", "%s", destination_of(e, a));
        log_address(&l, "to", &a->recipient.address);
        log_send(&l, reply_is_positive(&a->verdict) ? LOG_INFO : LOG_WARNING);
}

/* Whoever has a message that the client was refused will get it again. */
static void log_refused_although(const struct session_log *s, const struct addressee *a) {
        struct log_line l;

        log_start(
                &l,
                "duplicate possible: the client got a refusal, but this recipient has the message");
        log_id(&l, s);
        log_field(&l, "destination", "%s", destination_of(s->envelope, a));
        log_address(&l, "to", &a->recipient.address);
        log_send(&l, LOG_WARNING);
}

static void log_each(const struct session_log *s, const struct reply *verdict) {
        const struct envelope *e = s->envelope;

        for (size_t i = 0; i < e->n_addressees; i++)
                log_recipient(e, e->addressees + i);
        for (size_t i = 0; i < e->n_addressees; i++)
                if (!reply_is_positive(verdict) && reply_is_positive(&e->addressees[i].verdict))
                        log_refused_although(s, e->addressees + i);
}

static void log_message(const struct session_log *s, const struct reply *verdict, int64_t asked) {
        const struct envelope *e = s->envelope;
        struct log_line l;

        log_start(&l, "message");
        log_id(&l, s);
        log_verdict(&l, verdict);
        if (!reply_is_positive(verdict))
                log_field(&l, "by", "%s", reply_author(verdict));
        if (*e->destination)
                log_field(&l, "destination", "%s", e->destination);
        if (e->upstream && security_is_on(e->upstream))
                log_field(&l, "secured", "%s %s", e->upstream->protocol, e->upstream->cipher);
        log_field(&l, "strategy", "%s", s->config->strategy->name);
        log_duration(&l, asked);
        log_kind(&l, s);
        if (server_lacks_line_end(s->server))
                log_field(&l, "line-end", "added");
        log_names(&l, s);
        if (is_unanimous(e))
                log_recipients(&l, e);
        log_send(&l, reply_is_positive(verdict) ? LOG_INFO : LOG_WARNING);
}

/* Lines are large: none is on the stack while there is another one. */
void session_log_message(const struct session_log *s, const struct reply *verdict, int64_t asked) {
        log_message(s, verdict, asked);
        if (!is_unanimous(s->envelope))
                log_each(s, verdict);
}

/* Whether it is one of the first, which have a line each. */
static bool count_rejected(struct session_log *s) {
        return ++s->n_rejected <= s->config->max_errors;
}

static void send_rejected(struct log_line *l) {
        log_send(l, LOG_NOTICE);
        notify_count(NOTIFY_REJECTED);
}

static void log_refusal(struct log_line *l, const struct reply *verdict) {
        log_verdict(l, verdict);
        log_field(l, "by", "%s", reply_author(verdict));
}

void session_log_rejected_client(struct session_log *s, const char *helo,
                                 const struct reply *verdict) {
        struct log_line l;

        if (!count_rejected(s))
                return;
        log_start(&l, "rejected");
        log_peer(&l, s->peer);
        log_refusal(&l, verdict);
        log_sni(&l, s);
        log_chosen(&l, "helo", "%s", helo);
        send_rejected(&l);
}

void session_log_rejected(struct session_log *s, enum refused whom, const struct recipient *r,
                          const struct reply *verdict) {
        struct log_line l;

        if (!count_rejected(s))
                return;
        log_start(&l, "rejected");
        log_id(&l, s);
        log_refusal(&l, verdict);
        log_names(&l, s);
        if (whom == REFUSED_RECIPIENT)
                log_address(&l, "to", &r->address);
        if (whom == REFUSED_MESSAGE)
                log_recipients(&l, s->envelope);
        send_rejected(&l);
}

/* A recipient that was asked for before its sender was refused is out of order, not refused. */
void session_log_verdict(struct session_log *s, const struct recipient *r,
                         const struct reply *verdict) {
        if (!reply_is_positive(verdict) && (!r || server_has_sender(s->server)))
                session_log_rejected(s, r ? REFUSED_RECIPIENT : REFUSED_SENDER, r, verdict);
}

void session_log_refused(struct session_log *s, const struct event *reply) {
        if (reply->refused != REFUSED_NOBODY)
                session_log_rejected(s, reply->refused, reply->recipient, reply->reply);
}

/* What was refused was tried all the same. */
void session_log_auth(const struct session_log *s, const char *name, const struct reply *verdict) {
        struct log_line l;

        log_start(&l, "authentication");
        log_peer(&l, s->peer);
        log_verdict(&l, verdict);
        if (!reply_is_positive(verdict))
                log_field(&l, "by", "%s", reply_author(verdict));
        log_field(&l, "auth", "%s", s->server->mechanism);
        log_tls(&l, s);
        log_helo(&l, s);
        if (*name)
                log_chosen(&l, "user", "%s", name);
        log_send(&l, reply_is_positive(verdict) ? LOG_INFO : LOG_NOTICE);
}

static void log_more_rejected(const struct session_log *s) {
        struct log_line l;

        if (s->n_rejected <= s->config->max_errors)
                return;
        log_start(&l, "rejected");
        log_peer(&l, s->peer);
        log_number(&l, "more", s->n_rejected - s->config->max_errors);
        log_helo(&l, s);
        send_rejected(&l);
}

void session_log_abandoned(const struct session_log *s, enum session_end end) {
        struct log_line l;

        log_start(&l, "abandoned");
        log_id(&l, s);
        if (end == GOES_ON && !server_is_closed(s->server))
                log_field(&l, "reason", "the client started over");
        else
                log_reason(&l, "reason", s, end);
        log_kind(&l, s);
        log_names(&l, s);
        log_recipients(&l, s->envelope);
        log_send(&l, LOG_NOTICE);
}

void session_log_owe(const struct session_log *s, struct receipt *r) {
        const struct envelope *e = s->envelope;

        receipt_add(r, e->id);
        for (size_t i = 0; i < e->n_addressees; i++)
                if (reply_is_positive(&e->addressees[i].verdict))
                        receipt_add_recipient(r, e->addressees[i].recipient.address.text);
}

static void log_unheard(const struct session_log *s, const struct receipt_message *m) {
        struct log_line l;

        log_start(&l, "duplicate possible: connection lost before the client acknowledged the 250");
        log_field(&l, "id", "%s", m->id);
        log_peer(&l, s->peer);
        log_number(&l, "recipients", m->n_recipients);
        for (size_t at = 0; at < m->n_to; at += strlen(m->to + at) + 1)
                log_chosen(&l, "to", "<%s>", m->to + at);
        log_send(&l, LOG_WARNING);
}

static void log_more_unheard(const struct session_log *s, const struct receipt *r) {
        struct log_line l;

        if (r->n <= RECEIPT_MESSAGES)
                return;
        log_start(&l, "duplicate possible: connection lost, likewise for further messages");
        log_peer(&l, s->peer);
        log_number(&l, "messages", r->n - RECEIPT_MESSAGES);
        log_send(&l, LOG_WARNING);
}

void session_log_unheard(const struct session_log *s, const struct receipt *r) {
        for (size_t i = 0; i < r->n && i < RECEIPT_MESSAGES; i++)
                log_unheard(s, r->messages + i);
        log_more_unheard(s, r);
}

/* A balancer that looks whether we are there does it every other second. */
static int priority_of(const struct session_log *s, enum session_end end) {
        if (end == END_NO_HEADER)
                return LOG_WARNING;
        return peer_is_of_balancer(s->peer) && s->n_messages == 0 ? LOG_DEBUG : LOG_INFO;
}

static void log_end(const struct session_log *s, enum session_end end) {
        struct log_line l;

        log_start(&l, "session");
        log_peer(&l, s->peer);
        log_field(&l, "protocol", "%s", server_protocol(s->server));
        log_tls(&l, s);
        log_auth(&l, s);
        log_number(&l, "commands", s->server->n_commands);
        log_number(&l, "errors", s->server->n_errors);
        log_number(&l, "messages", s->n_messages);
        log_number(&l, "accepted", s->n_accepted);
        if (s->confinement == NOT_CONFINED)
                log_field(&l, "confined", "no");
        log_reason(&l, "end", s, end);
        log_duration(&l, s->started);
        log_sni(&l, s);
        log_helo(&l, s);
        log_send(&l, priority_of(s, end));
}

void session_log_end(const struct session_log *s, enum session_end end) {
        log_more_rejected(s);
        log_end(s, end);
}

void session_log_gone(const struct peer *p, int priority) {
        struct log_line l;

        log_start(&l, "session");
        log_peer(&l, p);
        log_field(&l, "end", "the client left before the session began");
        log_send(&l, priority);
}

void session_log_waiting(const struct session_log *s) {
        if (notify_is_wanted())
                notify_status("%s: waiting for a command; messages accepted: %u", s->peer->address,
                              s->n_accepted);
}

void session_log_doing(const struct session_log *s, const char *what) {
        if (notify_is_wanted())
                notify_status("%s: %s a message from <%s>; recipients: %zu", s->peer->address, what,
                              s->envelope->sender.address.text, s->envelope->n_addressees);
}
