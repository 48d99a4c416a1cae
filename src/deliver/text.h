/* SPDX-License-Identifier: MIT */
/* deliver/text.h - the message as it is passed on: Received on top, X-Peer as the last header
 * field. The fields of a filter are above Received, as if a server after us had added them.
 *
 * Nothing in the message can become part of what we add. A line that is not a header field ends the
 * header section, and an empty line is inserted before it, as in Postfix and Exim. But a first line
 * "From ...", as in an mbox, becomes a field X-Mailbox-Line, as in Postfix.
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

/* Returns true if the message may be passed on (no loop, no NUL); otherwise sets the refusal. */
bool text_check(const struct message *m, struct reply *ret);

/* Whether the message contains an octet over 127. If it cannot be read, text_send() reports that.
 */
bool text_is_8bit(struct message *m);

/* The size of the message with what we add, in octets as RFC 1870 counts them. */
uint64_t text_size(const struct message *m, const struct trace *t);

/* Sends it, without the final dot. */
enum client_result text_send(struct client *c, struct message *m, const struct trace *t);
