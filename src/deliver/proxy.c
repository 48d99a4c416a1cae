/* deliver/proxy.c - strategy proxy: an upstream SMTP or LMTP server has the word, while our client waits.
 *
 * MAIL and each RCPT are asked live. When the whole message is here it goes to the upstream, with Received on top and
 * X-Peer as its last header, and the upstream's reply to the final dot is ours.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/text.h"
#include "deliver/relay.h"
#include "deliver/text.h"
#include "deliver/upstream.h"

struct delivery {
        const struct config *config;
        const struct peer *peer;
        struct upstream upstream;
};

static int proxy_open(const struct config *c, const struct peer *p, struct delivery **ret) {
        struct delivery *d = calloc(1, sizeof(*d));

        if (!d)
                return -ENOMEM;
        d->config = c;
        d->peer = p;
        upstream_init(&d->upstream, c, p);
        *ret = d;
        return 0;
}

static unsigned proxy_hello(struct delivery *d, const char *helo, uint64_t *max_size) {
        return upstream_hello(&d->upstream, helo, max_size);
}

static void proxy_sender(struct delivery *d, const struct envelope *e, struct reply *ret_verdict) {
        upstream_sender(&d->upstream, e, ret_verdict);
}

static void proxy_recipient(struct delivery *d, struct addressee *a, struct reply *ret_verdict) {
        if (relay_is_allowed(d->config, d->peer, &a->recipient, ret_verdict))
                upstream_recipient(&d->upstream, &a->recipient, ret_verdict);
}

static void proxy_process_message(struct delivery *d, struct envelope *e, struct message *m) {
        struct reply verdict;
        bool is_sent = text_is_fit(m, &verdict) && upstream_send(&d->upstream, m, &verdict);

        text_format(e->destination, sizeof(e->destination), "%s", d->upstream.client.endpoint);
        if (is_sent)
                upstream_commit(&d->upstream, e);
        else
                delivery_verdict(e, &verdict);
}

static void proxy_close(struct delivery *d) {
        upstream_close(&d->upstream);
        free(d);
}

const struct delivery_ops proxy_ops = {
        .name = "proxy",
        .needs = NEEDS_NETWORK,
        .open = proxy_open,
        .hello = proxy_hello,
        .sender = proxy_sender,
        .recipient = proxy_recipient,
        .process_message = proxy_process_message,
        .close = proxy_close,
};
