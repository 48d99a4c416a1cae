/* deliver/text.c - the message as it is passed on. */
#include "deliver/text.h"

#include <errno.h>
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
                ret->n_x_peer = text_format(ret->x_peer, sizeof(ret->x_peer), "X-Peer: %s\n", e->peer->address);
}

bool text_is_fit(const struct message *m, struct reply *ret) {
        if (m->header.n_received > HOPS_MAX)
                reply_fix(ret, &is_loop);
        else if (m->has_nul)
                reply_fix(ret, &has_nul);
        else
                return true;
        return false;
}

/* The text from one offset to another, a piece at a time: returns the octets at `*ret`, 0 at the end, or a negative
 * errno. */
static int64_t next_piece(struct message *m, uint64_t *from, uint64_t to, const char **ret) {
        int64_t n;

        if (*from >= to)
                return 0;
        n = spool_read(&m->spool, *from, ret);
        if (n == 0)
                return -EIO; /* the file has become shorter */
        if (n > 0 && (uint64_t) n > to - *from)
                n = (int64_t) (to - *from);
        if (n > 0)
                *from += (uint64_t) n;
        return n;
}

bool text_is_8bit(struct message *m) {
        uint64_t from = 0;
        const char *text;
        int64_t n;

        while ((n = next_piece(m, &from, m->spool.size, &text)) > 0) {
                unsigned char all = 0;

                for (int64_t i = 0; i < n; i++)
                        all |= (unsigned char) text[i];
                if (all & 0x80)
                        return true;
        }
        return false;
}

static int send_part(struct client *c, struct message *m, uint64_t from, uint64_t to) {
        const char *text;
        int64_t n;
        int r = 0;

        while (r == 0 && (n = next_piece(m, &from, to, &text)) != 0)
                if (n > 0)
                        r = client_send(c, text, (size_t) n);
                else {
                        client_abort(c); /* half a message has no end */
                        r = (int) n;
                }
        return r;
}

int text_send(struct client *c, struct message *m, const struct trace *t) {
        int r = client_send(c, t->received, t->n_received);

        if (r == 0)
                r = send_part(c, m, 0, m->header.n_header);
        if (r == 0)
                r = client_send(c, t->x_peer, t->n_x_peer);
        if (r == 0)
                r = send_part(c, m, m->header.n_header, m->spool.size);
        return r == 0 ? client_look(c) : r;
}
