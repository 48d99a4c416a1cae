/* deliver/text.h - the message as it is passed on: Received on top, X-Peer as the last header. */
#pragma once

#include "deliver/client.h"
#include "deliver/delivery.h"

/* What we add, LF lines. */
struct trace {
        size_t n_received, n_x_peer; /* octets */
        char received[RECEIVED_MAX], x_peer[80];
};

void text_trace(const struct config *c, const struct envelope *e, struct trace *ret);

/* Returns true if it may be passed on (no loop, and no NUL), or else sets the refusal. */
bool text_check(const struct message *m, struct reply *ret);

/* Whether there is an octet over 127 in it. If it cannot be read, text_send() will say so. */
bool text_is_8bit(struct message *m);

/* Its octets with what we add, as RFC 1870 counts them. */
uint64_t text_size(const struct message *m, const struct trace *t);

/* Sends it, without the final dot. */
enum client_result text_send(struct client *c, struct message *m, const struct trace *t);
