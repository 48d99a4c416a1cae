/* deliver/proxy.c - strategy proxy: an upstream SMTP or LMTP server has the word, while our client waits.
 *
 * MAIL and each RCPT are asked live. When the whole message is here it goes to the upstream, with Received on top and
 * X-Peer as its last header, and the upstream's reply to the final dot is ours. Until that dot a lost upstream is
 * connected to once more and the envelope said again; after it there is no second try (RFC 1047).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "deliver/client.h"
#include "deliver/delivery.h"
#include "deliver/relay.h"
#include "io/log.h"

enum { UPSTREAM_SECONDS = 300 };

struct delivery {
        const struct config *config;
        const struct peer *peer;
        const struct envelope *envelope; /* of the transaction */
        struct client_rules rules;
        bool is_started;                 /* the upstream has heard MAIL, and no end of it */
        bool was_reconnected;            /* in this transaction */
        char helo[256];
        struct client client;
};

static const struct fixed_reply no_upstream = { 451, "4.4.1", "no upstream server can be reached, try again later" };
static const struct fixed_reply upstream_lost = { 451, "4.4.2", "the upstream server was lost, try again later" };
static const struct fixed_reply no_smtputf8 = { 550, "5.6.7", "the upstream server does not take SMTPUTF8" };
static const struct fixed_reply no_8bitmime = { 554, "5.6.3", "the upstream server does not take 8-bit text" };
static const struct fixed_reply has_nul = { 554, "5.6.0", "the message has a NUL octet" };
static const struct fixed_reply is_loop = { 554, "5.4.6", "too many hops: this is a mail loop" };

/* --- the connection -------------------------------------------------------------------------------------- */

static int proxy_open(const struct config *c, const struct peer *p, struct delivery **ret) {
        struct delivery *d = calloc(1, sizeof(*d));
        bool has_timeout = c->upstream_timeout > 0;

        if (!d)
                return -ENOMEM;
        d->config = c;
        d->peer = p;
        d->rules = (struct client_rules) {
                .hostname = c->hostname,
                .is_lmtp = c->is_upstream_lmtp,
                .timeout = has_timeout ? c->upstream_timeout : UPSTREAM_SECONDS,
                .dot_timeout = has_timeout ? c->upstream_timeout : CLIENT_DOT_SECONDS,
                .peer = c->xclient && *p->port ? p : NULL,
                .peer_helo = d->helo,
        };
        *ret = d;
        return 0;
}

static void proxy_close(struct delivery *d) {
        client_close(&d->client);
        free(d);
}

static void log_upstream(const struct delivery *d) {
        log_say(LOG_WARNING, "upstream %s: %s", d->client.endpoint, d->client.why);
}

/* The first upstream that will have us. */
static bool connect_upstream(struct delivery *d) {
        const struct list *upstream = &d->config->upstream;

        client_close(&d->client);
        d->is_started = false;
        for (size_t i = 0; i < upstream->n; i++) {
                if (client_open(&d->client, upstream->items[i], "25", &d->rules) == 0)
                        return true;
                log_upstream(d);
        }
        return false;
}

static bool is_connected(struct delivery *d) {
        return client_look(&d->client) == 0;
}

/* What the upstream can do, we can offer. */
static unsigned proxy_hello(struct delivery *d, const char *helo, uint64_t *max_size) {
        const uint64_t *theirs = &d->client.max_size;

        snprintf(d->helo, sizeof(d->helo), "%s", helo);
        if (d->rules.peer) /* XCLIENT has told another name */
                client_close(&d->client);
        if (!is_connected(d) && !connect_upstream(d))
                return EXTENSION_SIZE | EXTENSION_8BITMIME;
        if (*theirs > 0 && (*max_size == 0 || *theirs < *max_size))
                *max_size = *theirs;
        return EXTENSION_SIZE | d->client.extensions;
}

/* --- the envelope ------------------------------------------------------------------------------------------ */

/* What the upstream said, as our reply. A code that answers no such question is a mistake of the upstream's. */
static void pass_on(struct reply *r) {
        if (r->code >= 300 && r->code < 400)
                reply_fix(r, &upstream_lost);
        if (r->code == 421) /* ours would close our session */
                r->code = 451;
}

/* Says MAIL. Returns 0 with the verdict, or a negative errno. */
static int say_mail(struct delivery *d, struct reply *ret) {
        struct reply reset;
        int r = 0;

        if (d->is_started)
                client_put_rset(&d->client);
        if (d->is_started && !d->client.is_pipelined)
                r = client_get(&d->client, "RSET", &reset);
        if (r < 0)
                return r;
        client_put_mail(&d->client, &d->envelope->sender);
        if (d->is_started && d->client.is_pipelined)
                r = client_get(&d->client, "RSET", &reset);
        if (r == 0)
                r = client_get(&d->client, "MAIL", ret);
        d->is_started = r == 0 && reply_is_positive(ret);
        return r;
}

/* What can be told without asking; false if MAIL is to be said. */
static bool is_unfit(const struct delivery *d, struct reply *ret) {
        const struct sender *s = &d->envelope->sender;

        if (s->is_smtputf8 && !(d->client.extensions & EXTENSION_SMTPUTF8))
                reply_fix(ret, &no_smtputf8);
        else if (d->client.max_size > 0 && s->size > d->client.max_size)
                reply_set(ret, 552, "5.3.4", "message too big: the upstream server takes at most %llu octets",
                          (unsigned long long) d->client.max_size);
        else
                return false;
        return true;
}

/* Says MAIL and all recipients so far to a new connection. All must be welcome again: what the client was told holds. */
static int replay(struct delivery *d) {
        const struct envelope *e = d->envelope;
        struct reply reply;
        int r;

        if (is_unfit(d, &reply))
                return -EPROTO;
        r = say_mail(d, &reply);
        if (r < 0 || !d->is_started)
                return r < 0 ? r : -EPROTO;
        for (size_t i = 0, put = 0; i < e->n_addressees; i++) {
                while (put < e->n_addressees && (put == i || d->client.is_pipelined))
                        client_put_rcpt(&d->client, &e->addressees[put++].recipient);
                r = client_get(&d->client, "RCPT", &reply);
                if (r < 0 || !reply_is_positive(&reply))
                        return r < 0 ? r : -EPROTO;
        }
        return 0;
}

/* After `error`: whether there is a new connection that knows the envelope. Once in a transaction, and only when the
 * upstream went away: who is silent or out of step is not asked again. */
static bool is_back(struct delivery *d, int error) {
        log_upstream(d);
        if (d->was_reconnected || error == -EBADMSG || error == -ETIMEDOUT)
                return false;
        d->was_reconnected = true;
        if (!connect_upstream(d))
                return false;
        error = replay(d);
        if (error < 0)
                log_upstream(d);
        return error == 0;
}

static void proxy_sender(struct delivery *d, const struct envelope *e, struct reply *ret_verdict) {
        int r;

        d->envelope = e;
        d->was_reconnected = false;
        if (!is_connected(d) && !connect_upstream(d)) {
                reply_fix(ret_verdict, &no_upstream);
                return;
        }
        if (is_unfit(d, ret_verdict))
                return;
        r = say_mail(d, ret_verdict);
        if (r < 0 && r != -EBADMSG && r != -ETIMEDOUT) {
                log_upstream(d);
                d->was_reconnected = true;
                r = connect_upstream(d) ? say_mail(d, ret_verdict) : -ENOTCONN;
        }
        if (r < 0)
                reply_fix(ret_verdict, &upstream_lost);
        pass_on(ret_verdict);
}

static int say_rcpt(struct delivery *d, const struct recipient *recipient, struct reply *ret) {
        int r = client_look(&d->client);

        if (r < 0)
                return r;
        client_put_rcpt(&d->client, recipient);
        return client_get(&d->client, "RCPT", ret);
}

static void proxy_recipient(struct delivery *d, const struct recipient *recipient, struct reply *ret_verdict) {
        int r;

        if (!relay_is_allowed(d->config, d->peer, recipient, ret_verdict))
                return;
        r = say_rcpt(d, recipient, ret_verdict);
        if (r < 0 && is_back(d, r))
                r = say_rcpt(d, recipient, ret_verdict);
        if (r < 0)
                reply_fix(ret_verdict, &upstream_lost);
        pass_on(ret_verdict);
}

/* --- the message --------------------------------------------------------------------------------------------- */

/* What we add on top and behind the other headers. */
struct trace {
        size_t n_received, n_x_peer;
        char received[RECEIVED_MAX], x_peer[80];
};

static void make_trace(const struct delivery *d, const struct envelope *e, struct trace *ret) {
        const struct received received = {
                .helo = e->helo,
                .address = e->peer->address,
                .hostname = d->config->hostname,
                .protocol = e->protocol,
                .id = e->id,
                .recipient = e->n_addressees == 1 ? e->addressees[0].recipient.address.text : "",
                .time = time(NULL),
        };

        ret->n_received = received_format(&received, ret->received);
        ret->n_x_peer = 0;
        if (d->config->x_peer)
                ret->n_x_peer = (size_t) snprintf(ret->x_peer, sizeof(ret->x_peer), "X-Peer: %s\n", e->peer->address);
}

static bool has_high_bit(const char *s, size_t n) {
        unsigned char all = 0;

        for (size_t i = 0; i < n; i++)
                all |= (unsigned char) s[i];
        return all & 0x80;
}

/* Gives each piece of the text from one offset to another to `take`, until that returns something else than 0. */
static int each_piece(struct delivery *d, struct spool *s, uint64_t from, uint64_t to,
                      int (*take)(struct delivery *d, const char *text, size_t n)) {
        int r = 0;

        while (from < to && r == 0) {
                const char *text;
                int64_t n = spool_read(s, from, &text);

                if (n <= 0)
                        return n < 0 ? (int) n : -EIO; /* the file became shorter */
                if ((uint64_t) n > to - from)
                        n = (int64_t) (to - from);
                r = take(d, text, (size_t) n);
                from += (uint64_t) n;
        }
        return r;
}

static int find_high_bit(struct delivery *d, const char *text, size_t n) {
        (void) d;
        return has_high_bit(text, n);
}

static int send_piece(struct delivery *d, const char *text, size_t n) {
        return client_send(&d->client, text, n);
}

/* Whether there is something in the message that the upstream would not have. */
static bool is_unacceptable(struct delivery *d, struct message *m, const struct trace *t, struct reply *ret) {
        uint64_t limit = d->client.max_size, added = t->n_received + t->n_x_peer + 4; /* CRs */

        if (m->header.n_received > HOPS_MAX)
                reply_fix(ret, &is_loop);
        else if (m->has_nul)
                reply_fix(ret, &has_nul);
        else if (d->client.is_open && limit > 0 && m->size + added > limit)
                reply_set(ret, 552, "5.3.4", "message too big: the upstream server takes at most %llu octets",
                          (unsigned long long) limit);
        else if (d->client.is_open && !(d->client.extensions & EXTENSION_8BITMIME) &&
                 each_piece(d, &m->spool, 0, m->spool.size, find_high_bit) != 0)
                reply_fix(ret, &no_8bitmime);
        else
                return false;
        return true;
}

/* DATA and the message, without the final dot. Returns 0; a negative errno; or 1 with the upstream's refusal. */
static int send_message(struct delivery *d, struct message *m, const struct trace *t, struct reply *ret_refusal) {
        int r = client_data(&d->client, ret_refusal);

        if (r == 0 && ret_refusal->code != 354) {
                if (ret_refusal->code < 400)
                        reply_fix(ret_refusal, &upstream_lost);
                return 1;
        }
        if (r == 0)
                r = client_send(&d->client, t->received, t->n_received);
        if (r == 0)
                r = each_piece(d, &m->spool, 0, m->header.n_header, send_piece);
        if (r == 0)
                r = client_send(&d->client, t->x_peer, t->n_x_peer);
        if (r == 0)
                r = each_piece(d, &m->spool, m->header.n_header, m->spool.size, send_piece);
        return r == 0 ? client_look(&d->client) : r;
}

/* The final dot, and what the upstream says of the message: to all (SMTP), or for each recipient (LMTP). */
static void end_message(struct delivery *d, struct envelope *e) {
        struct reply verdict;
        int r = client_end(&d->client);

        d->is_started = false;
        for (size_t i = 0; i < e->n_addressees; i++) {
                if (r == 0 && (i == 0 || d->rules.is_lmtp))
                        r = client_verdict(&d->client, &verdict);
                if (r < 0) {
                        reply_fix(&verdict, &upstream_lost);
                        log_say(LOG_WARNING, "duplicate possible: upstream %s may have taken message %s for <%s>: %s",
                                d->client.endpoint, e->id, e->addressees[i].recipient.address.text, d->client.why);
                }
                pass_on(&verdict);
                e->addressees[i].verdict = verdict;
        }
}

static void proxy_process_message(struct delivery *d, struct envelope *e, struct message *m) {
        struct reply verdict;
        struct trace trace;
        int r;

        make_trace(d, e, &trace);
        r = client_look(&d->client);
        if (r < 0 && is_back(d, r))
                r = 0;
        if (r == 0 && is_unacceptable(d, m, &trace, &verdict)) {
                delivery_verdict(e, &verdict);
                return;
        }
        if (r == 0)
                r = send_message(d, m, &trace, &verdict);
        if (r < 0 && is_back(d, r))
                r = send_message(d, m, &trace, &verdict);
        snprintf(e->destination, sizeof(e->destination), "%.150s", d->client.endpoint);
        if (r == 0) {
                end_message(d, e);
                return;
        }
        if (r < 0)
                reply_fix(&verdict, &upstream_lost);
        pass_on(&verdict);
        delivery_verdict(e, &verdict);
}

const struct delivery_ops proxy_ops = {
        .name = "proxy",
        .summary = "pass it on to an upstream server",
        .open = proxy_open,
        .hello = proxy_hello,
        .sender = proxy_sender,
        .recipient = proxy_recipient,
        .process_message = proxy_process_message,
        .close = proxy_close,
};
