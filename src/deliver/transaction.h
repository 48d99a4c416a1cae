/* SPDX-License-Identifier: MIT */
/* deliver/transaction.h - one SMTP or LMTP transaction with one server (RFC 5321 section 3.3, RFC
 * 2033).
 *
 * The owner makes and closes the connection, which can have several transactions one after another.
 * Each step returns CLIENT_OK with the server's reply, or another result without one, after which
 * the connection is closed. transaction_verdict() turns either into the reply for our client.
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

/* Resets the transaction, without recipients. */
void transaction_forget(struct transaction *t);

/* Returns true if the server accepts messages of that size; otherwise sets the refusal, a temporary
 * one if we had promised that size to our client. */
bool transaction_check_size(const struct transaction *t, uint64_t size, struct reply *ret);

/* The same for one more RCPT; our client sends the others in another message. */
bool transaction_check_room(const struct transaction *t, struct reply *ret);

/* Queues MAIL, after RSET if the connection needs one. */
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

/* If the message was sent: checks that the server still waits for the dot. If not, sets the verdict
 * of its addressees and returns false. */
bool transaction_confirm(struct transaction *t);

/* Sends the final dot, and sets the verdict of each addressee. `id` is the message's, for the log.
 */
void transaction_commit(struct transaction *t, const char *id);

/* Closes the connection if the message was sent without its dot, so that the server discards it. */
void transaction_abort(struct transaction *t);

/* Turns the result of a step into the reply for our client: `reply` unchanged if the result was
 * CLIENT_OK and it is a valid reply to that step; otherwise a temporary failure, never 421, which
 * would close our session. Failures are logged. */
void transaction_verdict(const struct transaction *t, enum client_result result,
                         struct reply *reply);

/* The same verdict for all of its addressees. */
void transaction_refuse(struct transaction *t, const struct reply *verdict);
