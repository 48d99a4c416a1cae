/* SPDX-License-Identifier: MIT */
/* deliver/mailman3.h - GNU Mailman 3: its LMTP server says what is a list, and takes a copy for
 * each of them.
 *
 * Described in Mailman's src/mailman/runners/lmtp.py. Its answer to RCPT says whether the address
 * is a list's; it knows no pipelining, and speaks of errors of its own as of unknown addresses.
 */
#pragma once

#include "deliver/transaction.h"

/* Whose an address is. */
enum mailman_owner { MAILMAN_LIST, MAILMAN_OTHER, MAILMAN_UNKNOWN };

struct mailman3 {
        const char *endpoint;
        unsigned index;              /* which of the broker's endpoints that is */
        struct client_rules rules;   /* how to speak to it */
        struct client client;        /* who is asked what is a list */
        struct transaction question; /* with it: MAIL and RCPT, never a message */
        enum client_result asked;    /* how the last question of this transaction went */
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

/* Whose the address is. The verdict is Mailman's yes, or a temporary failure if that cannot be
 * known: never is it said to be another's if it might be a list's. One that was silent once in a
 * transaction is not waited for again. */
enum mailman_owner mailman3_find(struct mailman3 *m, const struct recipient *recipient,
                                 struct reply *ret_verdict);

/* The list's transaction up to, but without, the final dot. If it does not come so far, the list's
 * verdict says why, and it returns false. */
bool mailman3_send(struct mailman3 *m, struct mailman3_copy *copy, struct addressee **list,
                   const struct sender *s, struct message *message, const struct trace *trace);

/* The dot, and the list's verdict. */
void mailman3_commit(struct mailman3_copy *copy, const char *id);
