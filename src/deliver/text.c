/* SPDX-License-Identifier: MIT */
/* deliver/text.c - the message as it is passed on. */
#include "deliver/text.h"

#include <string.h>

#include "base/text.h"
#include "io/wall_clock.h"

static const struct fixed_reply has_nul = { 554, "5.6.0", "the message has a NUL octet" };
static const struct fixed_reply is_loop = { 554, "5.4.6", "too many hops: this is a mail loop" };

/* X-Peer, and an empty line before a line that is no field. */
static size_t format_end(const struct config *c, const struct envelope *e, const struct message *m,
                         char *out, size_t room) {
        bool has_gap = m->header.n_fields == m->header.n_header;

        return text_format(out, room, "%s%s%s%s", c->x_peer ? "X-Peer: " : "",
                           c->x_peer ? e->peer->address : "", c->x_peer ? "\n" : "",
                           has_gap ? "" : "\n");
}

void text_trace(const struct config *c, const struct envelope *e, const struct message *m,
                struct trace *ret) {
        const struct received received = {
                .helo = e->helo,
                .address = e->peer->address,
                .hostname = c->hostname,
                .protocol = e->protocol,
                .tls = e->security->protocol,
                .id = e->id,
                .recipient = e->n_addressees == 1 ? e->addressees[0].recipient.address.text : "",
                .time = wall_clock_seconds(),
        };

        ret->added = m->added;
        ret->n_received = received_format(&received, ret->received);
        ret->label = m->header.is_mbox ? "X-Mailbox-Line: " : "";
        ret->n_end = format_end(c, e, m, ret->end, sizeof(ret->end));
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

static bool has_8bit(const char *text, size_t n) {
        unsigned char all = 0;

        for (size_t i = 0; i < n; i++)
                all |= (unsigned char) text[i];
        return all & 0x80;
}

bool text_is_8bit(struct message *m) {
        uint64_t from = 0;
        const char *text;
        int64_t n;

        if (m->added && has_8bit(m->added->text, m->added->n))
                return true;
        while ((n = spool_next(&m->spool, &from, m->spool.size, &text)) > 0)
                if (has_8bit(text, (size_t) n))
                        return true;
        return false;
}

/* On the wire, where LF is CRLF. */
static uint64_t wire_size(const char *text, size_t n) {
        uint64_t n_wire = n;

        for (size_t i = 0; i < n; i++)
                n_wire += text[i] == '\n';
        return n_wire;
}

uint64_t text_size(const struct message *m, const struct trace *t) {
        uint64_t n_added = t->added ? wire_size(t->added->text, t->added->n) : 0;

        return m->size + n_added + wire_size(t->received, t->n_received) + strlen(t->label) +
               wire_size(t->end, t->n_end);
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
        uint64_t n_fields = m->header.n_fields;
        enum client_result r = CLIENT_OK;

        if (t->added)
                r = client_send(c, t->added->text, t->added->n);
        if (r == CLIENT_OK)
                r = client_send(c, t->received, t->n_received);
        if (r == CLIENT_OK)
                r = client_send(c, t->label, strlen(t->label));
        if (r == CLIENT_OK)
                r = send_part(c, m, 0, n_fields);
        if (r == CLIENT_OK)
                r = client_send(c, t->end, t->n_end);
        if (r == CLIENT_OK)
                r = send_part(c, m, n_fields, m->spool.size);
        return r == CLIENT_OK ? client_look(c) : r;
}
