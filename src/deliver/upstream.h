/* deliver/upstream.h - the upstream of a session: the first of several servers that will have us, asked live.
 *
 * Used by strategies proxy and mailman. Until the final dot a lost server is connected to once more, and the envelope said
 * again; after it there is no second try (RFC 1047).
 */
#pragma once

#include "deliver/client.h"
#include "deliver/delivery.h"

struct upstream {
        const struct config *config;
        const struct envelope *envelope; /* of the transaction */
        struct client_rules rules;
        bool is_started;                 /* the server has heard MAIL, and no end of it */
        bool was_reconnected;            /* in this transaction */
        char helo[256];
        struct client client;
};

void upstream_init(struct upstream *u, const struct config *c, const struct peer *p);

/* These are the functions of struct delivery_ops, asked of the upstream. Of the envelope's addressees those that are not
 * lists are the upstream's. */
unsigned upstream_hello(struct upstream *u, const char *helo, uint64_t *max_size);
void upstream_sender(struct upstream *u, const struct envelope *e, struct reply *ret_verdict);
void upstream_recipient(struct upstream *u, const struct recipient *r, struct reply *ret_verdict);

/* Sends DATA and the message, without the final dot. false and a verdict if there is no sending it. */
bool upstream_send(struct upstream *u, struct message *m, struct reply *ret_verdict);

/* Sends the final dot, and sets the verdicts of its addressees. */
void upstream_commit(struct upstream *u, struct envelope *e);

/* Leaves a message that was sent without its dot: the upstream does not have it then. */
void upstream_abort(struct upstream *u);

void upstream_close(struct upstream *u);

/* What a server said, as our reply: a code that answers no such question becomes a 451, and so does 421, which would say
 * that we close. */
void upstream_pass_on(struct reply *r);
