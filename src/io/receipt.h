/* SPDX-License-Identifier: MIT */
/* io/receipt.h - messages whose 250 was sent but is not known to have arrived (RFC 1047: the client
 * may send them again). */
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

/* Notes that a 250 for this message is about to be sent, and a recipient who has it. */
void receipt_add(struct receipt *r, const char *id);
void receipt_add_recipient(struct receipt *r, const char *address);

/* Forgets all messages if the peer has everything that was sent. */
void receipt_settle(struct receipt *r, const struct channel *c);
