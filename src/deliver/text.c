/* deliver/text.c - the message as it is passed on. */
#include "deliver/text.h"

#include <string.h>
#include <time.h>

#include "base/text.h"

static const struct fixed_reply has_nul = { 554, "5.6.0", "the message has a NUL octet" };
static const struct fixed_reply is_loop = { 554, "5.4.6", "too many hops: this is a mail loop" };

void text_trace(const struct config *c, const struct envelope *e, struct trace *ret) {
        const struct received received = {
                .helo = e->helo,
                .address = e->peer->address,
                .hostname = c->hostname,
                .protocol = e->protocol,
                .id = e->id,
                .recipient = e->n_addressees == 1 ? e->addressees[0].recipient.address.text : "",
                .time = time(NULL),
        };

        ret->n_received = received_format(&received, ret->received);
        ret->n_x_peer = 0;
        if (c->x_peer)
                ret->n_x_peer = text_format(ret->x_peer, sizeof(ret->x_peer), "X-Peer: %s\n",
                                            e->peer->address);
}

bool text_check(const struct message *m, struct reply *ret) {
        if (m->header.n_received > HOPS_MAX)
                reply_fix(ret, &is_loop);
        else if (m->has_nul)
                reply_fix(ret, &has_nul);
        else
                return true;
        return false;
}

bool text_is_8bit(struct message *m) {
        uint64_t from = 0;
        const char *text;
        int64_t n;

        while ((n = spool_next(&m->spool, &from, m->spool.size, &text)) > 0) {
                unsigned char all = 0;

                for (int64_t i = 0; i < n; i++)
                        all |= (unsigned char) text[i];
                if (all & 0x80)
                        return true;
        }
        return false;
}

uint64_t text_size(const struct message *m, const struct trace *t) {
        uint64_t n = m->size + t->n_received + t->n_x_peer + (t->n_x_peer > 0);

        for (size_t i = 0; i < t->n_received; i++)
                n += t->received[i] == '\n'; /* it becomes CRLF */
        return n;
}

static enum client_result send_part(struct client *c, struct message *m, uint64_t from,
                                    uint64_t to) {
        enum client_result r = CLIENT_OK;
        const char *text;
        int64_t n;

        while (r == CLIENT_OK && (n = spool_next(&m->spool, &from, to, &text)) != 0)
                if (n > 0)
                        r = client_send(c, text, (size_t) n);
                else
                        r = client_fail(c, CLIENT_UNREADABLE, "cannot read the message to be sent",
                                        strerror((int) -n));
        return r;
}

enum client_result text_send(struct client *c, struct message *m, const struct trace *t) {
        enum client_result r = client_send(c, t->received, t->n_received);

        if (r == CLIENT_OK)
                r = send_part(c, m, 0, m->header.n_header);
        if (r == CLIENT_OK)
                r = client_send(c, t->x_peer, t->n_x_peer);
        if (r == CLIENT_OK)
                r = send_part(c, m, m->header.n_header, m->spool.size);
        return r == CLIENT_OK ? client_look(c) : r;
}
