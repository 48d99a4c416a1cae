/* SPDX-License-Identifier: MIT */
/* deliver/upstream.h - the upstream of a session: the first of several servers that accepts us.
 *
 * Used by strategies proxy and mailman. It is one transaction, with recovery if the connection is
 * lost: before the final dot the server is connected to once more and the envelope is repeated;
 * after it there is no second attempt (RFC 1047). Nor is there one if our client has authenticated,
 * since only the client can do that again.
 */
#pragma once

#include "deliver/transaction.h"

/* The options that a strategy with an upstream has. */
#define UPSTREAM_OPTIONS                                                                           \
        "upstream upstream-protocol upstream-timeout upstream-tls upstream-tls-verify "            \
        "upstream-tls-ca upstream-tls-name upstream-user upstream-password upstream-auth "         \
        "xclient split filter"

/* That a client may say one after another, if XCLIENT tells them. */
enum { UPSTREAM_NAMES_MAX = 5 };

struct upstream {
        const struct config *config;
        const struct peer *peer;
        struct outage *outages;          /* of each */
        unsigned index;                  /* of the one that was last connected to */
        const struct envelope *envelope; /* of the transaction */
        struct client_rules rules;
        bool may_reconnect;        /* in this transaction */
        const char *authenticated; /* by which mechanism our client has; "": it has not */
        char mechanisms[AUTH_MECHANISMS_MAX + 1]; /* that it can use */
        char helo[256];
        unsigned n_names; /* that the client has said */
        struct client client;
        struct transaction transaction;
};

/* Returns 0 or a negative errno. */
int upstream_init(struct upstream *u, const struct delivery_context *x);

/* The functions of struct delivery_ops, for the upstream. */
void upstream_hello(struct upstream *u, const char *helo, struct offer *o);
void upstream_sender(struct upstream *u, const struct envelope *e, struct reply *ret_verdict);
void upstream_recipient(struct upstream *u, struct addressee *a, struct reply *ret_verdict);

const char *upstream_mechanisms(struct upstream *u);
void upstream_authenticate(struct upstream *u, const char *line, size_t n,
                           struct challenge *ret_challenge, struct reply *ret_verdict);

bool upstream_put(struct upstream *u, const struct envelope *e, const struct addressee *a);
void upstream_collect(struct upstream *u, struct addressee *a, struct reply *ret_verdict);
void upstream_reset(struct upstream *u);
void upstream_idle(struct upstream *u);

/* Whether our client has authenticated with an upstream; then no other one can be used. */
static inline bool upstream_is_authenticated(const struct upstream *u) {
        return *u->authenticated != '\0';
}

/* Sends DATA and the message, without the final dot: transaction_commit() or transaction_abort() is
 * next. If the message cannot be sent it sets the addressees' verdicts and returns false. */
bool upstream_send(struct upstream *u, struct message *m, const struct trace *trace);

void upstream_close(struct upstream *u);
