/* SPDX-License-Identifier: MIT */
/* deliver/transaction.h - one SMTP or LMTP transaction with one server (RFC 5321 section 3.3, RFC
 * 2033).
 *
 * It goes over a connection that its owner makes and closes, and may come after another one. Each
 * step is one question: CLIENT_OK with the server's reply, or anything else if there is none, and
 * the connection is closed then. transaction_verdict() makes of both what our client hears.
 *
 * If the client is pipelined, MAIL and RCPTs can be put before they are asked; transaction_begin()
 * and transaction_recipient() then get their answers, in the same order.
 */
#pragma once

#include "deliver/client.h"
#include "deliver/delivery.h"
#include "deliver/text.h"

enum transaction_state {
        TRANSACTION_IDLE, /* nothing is asked yet, or MAIL was refused */
        TRANSACTION_OPEN, /* MAIL was taken */
        TRANSACTION_SENT, /* the server has the message, but for the final dot */
        TRANSACTION_DONE, /* and the dot: the verdicts are given */
};

struct transaction {
        enum transaction_state state;
        struct client *client;
        unsigned promised;             /* to our client, of this server: enum extension, or-ed */
        uint64_t promised_size;        /* octets, likewise: UINT64_MAX no limit, 0 nothing */
        struct addressee **addressees; /* who was welcome: kept by the owner */
        size_t n_addressees;
};

/* Begins anew, with nobody. */
void transaction_forget(struct transaction *t);

/* Returns true if the server takes messages of that size, or else sets the refusal: a temporary one
 * if that was promised, since then it is no fault of our client's. */
bool transaction_check_size(const struct transaction *t, uint64_t size, struct reply *ret);

/* Likewise, whether the server takes one more RCPT. It sends the rest in another message. */
bool transaction_check_room(const struct transaction *t, struct reply *ret);

/* Puts MAIL, after RSET if the connection needs one. */
void transaction_put(const struct transaction *t, const struct sender *s);

/* MAIL. */
enum client_result transaction_begin(struct transaction *t, const struct sender *s,
                                     struct reply *ret);

/* RCPT. */
enum client_result transaction_recipient(const struct transaction *t, const struct recipient *r,
                                         struct reply *ret);

/* DATA and the message without its final dot: the state is TRANSACTION_SENT then. If it is not,
 * `ret` is the refusal, the server's, or ours of what it does not take. */
enum client_result transaction_send(struct transaction *t, struct message *m,
                                    const struct trace *trace, struct reply *ret);

/* If the message was sent: finds out whether the server still waits for the dot. If it does not,
 * its addressees have the verdict, and it returns false. */
bool transaction_confirm(struct transaction *t);

/* The final dot, and the verdict of each addressee. `id` is the message's, for the log. */
void transaction_commit(struct transaction *t, const char *id);

/* If the message was sent without its dot, the server does not get it. */
void transaction_abort(struct transaction *t);

/* What our client hears after a step: `reply` if the result was CLIENT_OK and it answers such a
 * question, else a temporary failure. Never a 421, which would close our session. The log has what
 * went wrong. */
void transaction_verdict(const struct transaction *t, enum client_result result,
                         struct reply *reply);

/* The same verdict for all of its addressees. */
void transaction_refuse(struct transaction *t, const struct reply *verdict);
