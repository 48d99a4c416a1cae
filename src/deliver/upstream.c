/* deliver/upstream.c - the upstream of a session. */
#include "deliver/upstream.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "deliver/text.h"
#include "io/log.h"

enum { UPSTREAM_SECONDS = 300 };

static const struct fixed_reply no_upstream = { 451, "4.4.1", "no upstream server can be reached, try again later" };
static const struct fixed_reply upstream_lost = { 451, "4.4.2", "the upstream server was lost, try again later" };
static const struct fixed_reply no_smtputf8 = { 550, "5.6.7", "the upstream server does not take SMTPUTF8" };
static const struct fixed_reply no_8bitmime = { 554, "5.6.3", "the upstream server does not take 8-bit text" };

/* --- the connection -------------------------------------------------------------------------------------- */

void upstream_init(struct upstream *u, const struct config *c, const struct peer *p) {
        bool has_timeout = c->upstream_timeout > 0;

        u->config = c;
        u->rules = (struct client_rules) {
                .hostname = c->hostname,
                .is_lmtp = c->is_upstream_lmtp,
                .timeout = has_timeout ? c->upstream_timeout : UPSTREAM_SECONDS,
                .dot_timeout = has_timeout ? c->upstream_timeout : CLIENT_DOT_SECONDS,
                .peer = c->xclient && strcmp(p->address, "local") != 0 ? p : NULL,
                .peer_helo = u->helo,
        };
}

void upstream_close(struct upstream *u) {
        client_close(&u->client);
}

static void log_upstream(const struct upstream *u) {
        log_say(LOG_WARNING, "upstream %s: %s", u->client.endpoint, u->client.why);
}

/* The first upstream that will have us. */
static bool connect_upstream(struct upstream *u) {
        const struct list *upstream = &u->config->upstream;

        client_close(&u->client);
        u->is_started = false;
        for (size_t i = 0; i < upstream->n; i++) {
                if (client_open(&u->client, upstream->items[i], "25", &u->rules) == 0)
                        return true;
                log_upstream(u);
        }
        return false;
}

static bool is_connected(struct upstream *u) {
        return client_look(&u->client) == 0;
}

/* What the upstream can do, we can offer. */
unsigned upstream_hello(struct upstream *u, const char *helo, uint64_t *max_size) {
        const uint64_t *theirs = &u->client.max_size;

        text_format(u->helo, sizeof(u->helo), "%s", helo);
        if (u->rules.peer) /* XCLIENT has told another name */
                client_close(&u->client);
        if (!is_connected(u) && !connect_upstream(u))
                return EXTENSION_8BITMIME;
        if (*theirs > 0 && (*max_size == 0 || *theirs < *max_size))
                *max_size = *theirs;
        return u->client.extensions;
}

/* --- the envelope ------------------------------------------------------------------------------------------ */

void upstream_pass_on(struct reply *r) {
        if (r->code >= 300 && r->code < 400)
                reply_fix(r, &upstream_lost);
        if (r->code == 421) /* ours would close our session */
                r->code = 451;
}

/* Says MAIL. Returns 0 with the verdict, or a negative errno. */
static int say_mail(struct upstream *u, struct reply *ret) {
        struct reply reset;
        int r = 0;

        if (u->is_started)
                client_put_rset(&u->client);
        if (u->is_started && !u->client.is_pipelined)
                r = client_get(&u->client, "RSET", &reset);
        if (r < 0)
                return r;
        client_put_mail(&u->client, &u->envelope->sender);
        if (u->is_started && u->client.is_pipelined)
                r = client_get(&u->client, "RSET", &reset);
        if (r == 0)
                r = client_get(&u->client, "MAIL", ret);
        u->is_started = r == 0 && reply_is_positive(ret);
        return r;
}

/* What can be told without asking; false if MAIL is to be said. */
static bool is_unfit(const struct upstream *u, struct reply *ret) {
        const struct sender *s = &u->envelope->sender;

        if (s->is_smtputf8 && !(u->client.extensions & EXTENSION_SMTPUTF8))
                reply_fix(ret, &no_smtputf8);
        else if (u->client.max_size > 0 && s->size > u->client.max_size)
                reply_set(ret, 552, "5.3.4", "message too big: the upstream server takes at most %llu octets",
                          (unsigned long long) u->client.max_size);
        else
                return false;
        return true;
}

static void put_rcpt(struct upstream *u, const struct addressee *a) {
        if (!a->is_list)
                client_put_rcpt(&u->client, &a->recipient);
}

/* Says MAIL and all recipients so far to a new connection. All must be welcome again: what the client was told holds. */
static int replay(struct upstream *u) {
        const struct envelope *e = u->envelope;
        struct reply reply;
        int r;

        if (is_unfit(u, &reply))
                return -EPROTO;
        r = say_mail(u, &reply);
        if (r < 0 || !u->is_started)
                return r < 0 ? r : -EPROTO;
        if (u->client.is_pipelined)
                for (size_t i = 0; i < e->n_addressees; i++)
                        put_rcpt(u, e->addressees + i);
        for (size_t i = 0; i < e->n_addressees; i++) {
                if (e->addressees[i].is_list)
                        continue;
                if (!u->client.is_pipelined)
                        put_rcpt(u, e->addressees + i);
                r = client_get(&u->client, "RCPT", &reply);
                if (r < 0 || !reply_is_positive(&reply))
                        return r < 0 ? r : -EPROTO;
        }
        return 0;
}

/* After `error`: whether there is a new connection that knows the envelope. Once in a transaction, and only when the
 * upstream went away: who is silent or out of step is not asked again. */
static bool is_back(struct upstream *u, int error) {
        log_upstream(u);
        if (u->was_reconnected || error == -EBADMSG || error == -ETIMEDOUT)
                return false;
        u->was_reconnected = true;
        if (!connect_upstream(u))
                return false;
        error = replay(u);
        if (error == 0)
                return true;
        if (error == -EPROTO)
                strcpy(u->client.why, "the envelope was refused when it was said again");
        log_upstream(u);
        client_abort(&u->client); /* the answers to what else was said would be taken for others */
        return false;
}

void upstream_sender(struct upstream *u, const struct envelope *e, struct reply *ret_verdict) {
        int r;

        u->envelope = e;
        u->was_reconnected = false;
        if (!is_connected(u) && !connect_upstream(u)) {
                reply_fix(ret_verdict, &no_upstream);
                return;
        }
        if (is_unfit(u, ret_verdict))
                return;
        r = say_mail(u, ret_verdict);
        if (r < 0 && r != -EBADMSG && r != -ETIMEDOUT) {
                log_upstream(u);
                u->was_reconnected = true;
                r = !connect_upstream(u) ? -ENOTCONN : is_unfit(u, ret_verdict) ? 0 : say_mail(u, ret_verdict);
        }
        if (r < 0)
                reply_fix(ret_verdict, &upstream_lost);
        upstream_pass_on(ret_verdict);
}

static int say_rcpt(struct upstream *u, const struct recipient *recipient, struct reply *ret) {
        int r = client_look(&u->client);

        if (r < 0)
                return r;
        client_put_rcpt(&u->client, recipient);
        return client_get(&u->client, "RCPT", ret);
}

void upstream_recipient(struct upstream *u, const struct recipient *recipient, struct reply *ret_verdict) {
        int r = say_rcpt(u, recipient, ret_verdict);

        if (r < 0 && is_back(u, r))
                r = say_rcpt(u, recipient, ret_verdict);
        if (r < 0)
                reply_fix(ret_verdict, &upstream_lost);
        upstream_pass_on(ret_verdict);
}

/* --- the message ----------------------------------------------------------------------------------------- */

/* Whether there is something in the message that this upstream would not have. */
static bool is_unacceptable(struct upstream *u, struct message *m, const struct trace *t, struct reply *ret) {
        uint64_t limit = u->client.max_size, added = t->n_received + t->n_x_peer + 5; /* the CRs of our lines */

        if (limit > 0 && m->size + added > limit)
                reply_set(ret, 552, "5.3.4", "message too big: the upstream server takes at most %llu octets",
                          (unsigned long long) limit);
        else if (!(u->client.extensions & EXTENSION_8BITMIME) && text_is_8bit(m))
                reply_fix(ret, &no_8bitmime);
        else
                return false;
        return true;
}

/* DATA and the message, without the final dot. Returns 0; a negative errno; or 1 with a refusal. */
static int try_to_send(struct upstream *u, struct message *m, const struct trace *t, struct reply *ret_refusal) {
        int r = client_look(&u->client);

        if (r == 0 && is_unacceptable(u, m, t, ret_refusal))
                return 1;
        if (r == 0)
                r = client_data(&u->client, ret_refusal);
        if (r == 0 && ret_refusal->code != 354) {
                if (ret_refusal->code < 400)
                        reply_fix(ret_refusal, &upstream_lost);
                return 1;
        }
        return r == 0 ? text_send(&u->client, m, t) : r;
}

bool upstream_send(struct upstream *u, struct message *m, struct reply *ret_verdict) {
        struct trace trace;
        int r;

        text_trace(u->config, u->envelope, &trace);
        r = try_to_send(u, m, &trace, ret_verdict);
        if (r < 0 && is_back(u, r))
                r = try_to_send(u, m, &trace, ret_verdict);
        if (r < 0)
                reply_fix(ret_verdict, &upstream_lost);
        upstream_pass_on(ret_verdict);
        return r == 0;
}

/* To all the same reply (SMTP), or to each recipient its own (LMTP). */
void upstream_commit(struct upstream *u, struct envelope *e) {
        struct reply verdict = { 0 };
        int r = client_look(&u->client);
        bool is_said = r == 0, is_first = true;

        if (r == 0)
                r = client_end(&u->client);
        u->is_started = false;
        for (struct addressee *a = e->addressees; a < e->addressees + e->n_addressees; a++) {
                if (a->is_list)
                        continue;
                if (r == 0 && (is_first || u->rules.is_lmtp))
                        r = client_verdict(&u->client, &verdict);
                if (r < 0)
                        reply_fix(&verdict, &upstream_lost);
                if (r < 0 && is_said)
                        log_say(LOG_WARNING, "duplicate possible: upstream %s may have taken message %s for <%s>: %s",
                                u->client.endpoint, e->id, a->recipient.address.text, u->client.why);
                is_first = false;
                upstream_pass_on(&verdict);
                a->verdict = verdict;
        }
}

void upstream_abort(struct upstream *u) {
        client_abort(&u->client);
        u->is_started = false;
}
