/* io/receipt.h - messages whose 250 the client was told, and has not been seen to hear (RFC 1047: it may send them again). */
#pragma once

#include <stddef.h>

#include "io/channel.h"

enum {
        RECEIPT_MESSAGES = 16, /* that are kept by name; of the others there is a count */
        RECEIPT_ID_MAX = 47,
        RECEIPT_TO_MAX = 255,  /* octets of recipients, for the log */
};

struct receipt {
        size_t n;
        struct {
                char id[RECEIPT_ID_MAX + 1], to[RECEIPT_TO_MAX + 1];
        } messages[RECEIPT_MESSAGES];
};

/* A 250 for this message is about to be said. */
void receipt_add(struct receipt *r, const char *id, const char *to);

/* Forgets them all if the peer has all that was sent. */
void receipt_settle(struct receipt *r, const struct channel *c);
