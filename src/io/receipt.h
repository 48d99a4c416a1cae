/* SPDX-License-Identifier: MIT */
/* io/receipt.h - messages whose 250 the client was told, and has not been seen to hear (RFC 1047:
 * it may send them again). */
#pragma once

#include <stddef.h>

#include "io/channel.h"

enum {
        RECEIPT_MESSAGES = 16, /* that are kept by name; of the others there is a count */
        RECEIPT_ID_MAX = 47,
        RECEIPT_TO_MAX = 1024, /* octets of recipients, for the log */
};

struct receipt_message {
        char id[RECEIPT_ID_MAX + 1];
        size_t n_recipients, n_to;
        char to[RECEIPT_TO_MAX]; /* of the recipients those that fit, each with its NUL */
};

struct receipt {
        size_t n;
        struct receipt_message messages[RECEIPT_MESSAGES];
};

/* A 250 for this message is about to be said; and this recipient of it has it. */
void receipt_add(struct receipt *r, const char *id);
void receipt_add_recipient(struct receipt *r, const char *address);

/* Forgets them all if the peer has all that was sent. */
void receipt_settle(struct receipt *r, const struct channel *c);
