/* SPDX-License-Identifier: MIT */
/* rules.h - reply= and delay=: the rules for a step of the session, before the strategy is asked.
 */
#pragma once

#include "config/config.h"
#include "deliver/delivery.h"
#include "smtp/match.h"

/* What rules are compared with. */
struct subject {
        enum match_step step;
        const char *text;                /* of a client, or */
        const struct address *address;   /* of a sender or recipient; both NULL: it is */
        const struct envelope *envelope; /* any recipient of it */
};

/* The seconds, or the reply, of the first rule that matches; 0, or false, if none does. */
uint64_t rules_delay(const struct config *c, const struct subject *s);
bool rules_reply(const struct config *c, const struct subject *s, struct reply *ret);

/* Whether one of either kind matches. */
bool rules_match(const struct config *c, const struct subject *s);

/* Whether there is any rule for this step. */
bool rules_exist(const struct config *c, enum match_step step);
