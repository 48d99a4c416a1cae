/* SPDX-License-Identifier: MIT */
/* deliver/mailman3.h - GNU Mailman 3: its LMTP server says what is a list, and takes a copy for
 * each of them.
 *
 * Described in Mailman's src/mailman/runners/lmtp.py. Its reply to RCPT says whether the address
 * belongs to a list. It does not support pipelining, and uses the same reply for its own errors as
 * for unknown addresses.
 */
#pragma once

#include "deliver/transaction.h"

/* To whom an address belongs. */
enum mailman_owner { MAILMAN_LIST, MAILMAN_OTHER, MAILMAN_UNKNOWN };

struct mailman3 {
        const char *endpoint;
        unsigned index;              /* which of the broker's endpoints that is */
        struct client_rules rules;   /* how to speak to it */
        struct client client;        /* who is asked what is a list */
        struct transaction question; /* with it: MAIL and RCPT, never a message */
        struct outage outage;        /* it is neither asked nor sent anything meanwhile */
};

/* A list's copy of a message, on a connection of its own that the owner closes. */
struct mailman3_copy {
        struct client client;
        struct transaction transaction;
};

/* It cannot be found out whether an address is a list's. */
extern const struct fixed_reply mailman3_gone;

void mailman3_init(struct mailman3 *m, const struct delivery_context *x);
void mailman3_reset(struct mailman3 *m);
void mailman3_close(struct mailman3 *m);

/* Finds out to whom the address belongs. The verdict is Mailman's positive reply, or a temporary
 * failure if that is unknown: an address that may belong to a list is never taken for another's. If
 * Mailman goes away it is asked once more; if that fails, or it times out, it is left alone for a
 * while. */
enum mailman_owner mailman3_find(struct mailman3 *m, const struct recipient *recipient,
                                 struct reply *ret_verdict);

/* Performs the list's transaction up to, but without, the final dot. On failure it sets the list's
 * verdict and returns false. */
bool mailman3_send(struct mailman3 *m, struct mailman3_copy *copy, struct addressee **list,
                   const struct sender *s, struct message *message, const struct trace *trace);

/* Sends the dot, and sets the list's verdict. */
void mailman3_commit(struct mailman3_copy *copy, const char *id);
