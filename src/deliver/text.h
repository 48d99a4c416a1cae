/* SPDX-License-Identifier: MIT */
/* deliver/text.h - the message as it is passed on: Received on top, X-Peer as the last header
 * field. What a filter adds is above Received, as of a server that comes after us.
 *
 * Nothing of the message becomes a part of what we add. A line that is no header field ends the
 * header section, and gets an empty line before it, as Postfix and Exim do it; but if the first
 * line is "From ...", as in an mbox, it becomes a field X-Mailbox-Line, as with Postfix.
 */
#pragma once

#include "deliver/client.h"
#include "deliver/delivery.h"

/* What we add, LF lines. */
struct trace {
        const struct fields *added; /* above it all; NULL: nothing */
        size_t n_received, n_end;   /* octets */
        char received[RECEIVED_MAX];
        const char *label; /* before the header fields of the message; "" if there is no need */
        char end[80];      /* after them: X-Peer, and an empty line if there is none */
};

void text_trace(const struct config *c, const struct envelope *e, const struct message *m,
                struct trace *ret);

/* Returns true if it may be passed on (no loop, and no NUL), or else sets the refusal. */
bool text_check(const struct message *m, struct reply *ret);

/* Whether there is an octet over 127 in it. If it cannot be read, text_send() will say so. */
bool text_is_8bit(struct message *m);

/* Its octets with what we add, as RFC 1870 counts them. */
uint64_t text_size(const struct message *m, const struct trace *t);

/* Sends it, without the final dot. */
enum client_result text_send(struct client *c, struct message *m, const struct trace *t);
