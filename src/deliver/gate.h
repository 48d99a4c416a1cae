/* SPDX-License-Identifier: MIT */
/* deliver/gate.h - filter=: a program that is asked about a message before any destination has it,
 * under the contract of smtpd-exec(7).
 *
 * Used by strategies proxy and mailman. It can refuse the message for all of its recipients, or let
 * it go on with header fields on top.
 */
#pragma once

#include <limits.h>

#include "deliver/delivery.h"
#include "deliver/environment.h"

struct gate {
        char **argv;           /* of the filter; NULL: there is none */
        struct fields *fields; /* that it adds to the message under way */
        uint64_t timeout;      /* seconds that it has */
        struct environment_room room;
        char program[PATH_MAX]; /* argv[0], unless that is as configured */
};

/* Returns 0 or a negative errno; gate_close() is next in any case. */
int gate_open(struct gate *g, const struct config *c);
void gate_close(struct gate *g);

void gate_needs(const struct gate *g, struct services *ret);

/* At RCPT: reserves room for the recipient in the filter's environment. Returns false and the
 * verdict 452 if there is none. */
bool gate_reserve(struct gate *g, const struct recipient *r, struct reply *ret_verdict);

/* Asks the filter. Returns true if the message is to be passed on, with its added fields set in the
 * message. Otherwise all addressees have the filter's verdict, and the envelope's destination names
 * the filter for the log. */
bool gate_ask(struct gate *g, struct envelope *e, struct message *m);

/* The transaction is over. */
void gate_reset(struct gate *g);
