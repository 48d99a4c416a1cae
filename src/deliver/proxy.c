/* SPDX-License-Identifier: MIT */
/* deliver/proxy.c - strategy proxy: an upstream SMTP or LMTP server has the word, while our client
 * waits.
 *
 * MAIL and each RCPT are asked live. When the whole message is here, and the filter lets it
 * through, it goes to the upstream, with Received on top and X-Peer as its last header, and the
 * upstream's reply to the final dot is ours.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "deliver/gate.h"
#include "deliver/relay.h"
#include "deliver/upstream.h"

struct delivery {
        const struct config *config;
        const struct peer *peer;
        struct gate gate;
        struct upstream upstream;
};

static void proxy_close(struct delivery *d) {
        upstream_close(&d->upstream);
        gate_close(&d->gate);
        free(d);
}

static int proxy_open(const struct delivery_context *x, struct delivery **ret) {
        struct delivery *d = calloc(1, sizeof(*d));
        int r;

        if (!d)
                return -ENOMEM;
        d->config = x->config;
        d->peer = x->peer;
        r = upstream_init(&d->upstream, x);
        if (r == 0)
                r = gate_open(&d->gate, x->config);
        if (r < 0)
                proxy_close(d);
        else
                *ret = d;
        return r;
}

/* With split=yes each recipient is a destination of its own. */
static bool is_apart(const struct delivery *d) {
        return d->config->split && d->config->is_upstream_lmtp;
}

static void proxy_hello(struct delivery *d, const char *helo, struct offer *o) {
        upstream_hello(&d->upstream, helo, o);
        o->extensions |= d->config->is_upstream_lmtp ? EXTENSION_PRDR : 0;
        o->is_split = is_apart(d);
}

static const char *proxy_mechanisms(struct delivery *d) {
        return upstream_mechanisms(&d->upstream);
}

static void proxy_authenticate(struct delivery *d, const char *line, size_t n,
                               struct challenge *ret_challenge, struct reply *ret_verdict) {
        upstream_authenticate(&d->upstream, line, n, ret_challenge, ret_verdict);
}

static void proxy_sender(struct delivery *d, const struct envelope *e, struct reply *ret_verdict) {
        upstream_sender(&d->upstream, e, ret_verdict);
}

/* Returns true if we may pass it on, or else sets the refusal. */
static bool check_relay(const struct delivery *d, const struct addressee *a, struct reply *ret) {
        return relay_check(d->config, d->peer, upstream_is_authenticated(&d->upstream),
                           &a->recipient, ret);
}

static void proxy_recipient(struct delivery *d, struct addressee *a, struct reply *ret_verdict) {
        if (!check_relay(d, a, ret_verdict))
                return;
        if (is_apart(d) && d->upstream.transaction.n_addressees > 0)
                reply_fix(ret_verdict, &delivery_elsewhere);
        else if (gate_reserve(&d->gate, &a->recipient, ret_verdict))
                upstream_recipient(&d->upstream, a, ret_verdict);
}

static bool proxy_is_same(const struct delivery *d, const struct addressee *a,
                          const struct recipient *r) {
        (void) d;
        return address_is_same(&a->recipient.address, &r->address) &&
               strcmp(a->recipient.options, r->options) == 0; /* notices that are asked for */
}

/* Who is refused here is not asked about; who may be refused because of another one, after that one
 * is answered. */
static bool proxy_put(struct delivery *d, const struct envelope *e, struct addressee *a) {
        struct environment_room before = d->gate.room;
        struct reply refusal;

        if (a && is_apart(d))
                return false;
        if (a && !check_relay(d, a, &refusal))
                return false;
        if (a && !gate_reserve(&d->gate, &a->recipient, &refusal))
                return false;
        if (upstream_put(&d->upstream, e, a))
                return true;
        d->gate.room = before;
        return false;
}

static void proxy_collect(struct delivery *d, struct addressee *a, struct reply *ret_verdict) {
        upstream_collect(&d->upstream, a, ret_verdict);
}

static void proxy_reset(struct delivery *d) {
        gate_reset(&d->gate);
        upstream_reset(&d->upstream);
}

static void proxy_idle(struct delivery *d) {
        upstream_idle(&d->upstream);
}

static void pass_on(struct delivery *d, const struct envelope *e, struct message *m) {
        struct trace trace;

        text_trace(d->config, e, m, &trace);
        if (upstream_send(&d->upstream, m, &trace))
                transaction_commit(&d->upstream.transaction, e->id);
}

static void proxy_process_message(struct delivery *d, struct envelope *e, struct message *m) {
        struct reply refusal;

        if (!text_check(m, &refusal))
                delivery_verdict(e, &refusal);
        else if (gate_ask(&d->gate, e, m))
                pass_on(d, e, m);
        else
                return;
        text_format(e->destination, sizeof(e->destination), "%s", d->upstream.client.endpoint);
        e->upstream = &d->upstream.client.prologue.security;
}

static void proxy_needs(const struct delivery *d, struct services *ret) {
        ret->upstream = &d->config->upstream;
        gate_needs(&d->gate, ret);
}

static const char *proxy_check(const struct config *c, const char **ret_option) {
        (void) ret_option;
        return c->upstream.n > 0 ? NULL : "strategy=proxy needs upstream=HOST[:PORT]";
}

const struct delivery_ops proxy_ops = {
        .name = "proxy",
        .summary = "passes it on to an upstream SMTP or LMTP server, which decides",
        .options = UPSTREAM_OPTIONS " " RELAY_OPTIONS,
        .check = proxy_check,
        .needs_domain = true,
        .needs = proxy_needs,
        .open = proxy_open,
        .hello = proxy_hello,
        .mechanisms = proxy_mechanisms,
        .authenticate = proxy_authenticate,
        .sender = proxy_sender,
        .recipient = proxy_recipient,
        .is_same = proxy_is_same,
        .put = proxy_put,
        .collect = proxy_collect,
        .process_message = proxy_process_message,
        .reset = proxy_reset,
        .idle = proxy_idle,
        .close = proxy_close,
};
