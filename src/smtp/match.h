/* SPDX-License-Identifier: MIT */
/* smtp/match.h - rules for the steps of a session: a reply of ours, or a delay.
 *
 *      reply = STEP PATTERN NNN [ x.y.z ] TEXT         delay = STEP PATTERN SECONDS
 *
 * A pattern has "*" for any number of characters and "?" for one, and no other sign of its own;
 * letters of ASCII match in either case. It costs at most its length times that of the text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smtp/reply.h"

/* What the pattern is held against. */
enum match_step {
        MATCH_CONNECT, /* the client's address */
        MATCH_HELO,    /* its name */
        MATCH_MAIL,    /* the sender; "<>" is the null one */
        MATCH_RCPT,    /* the recipient */
        MATCH_DATA,    /* any recipient, at DATA */
        MATCH_MESSAGE, /* likewise, when the message is complete */
};

/* A rule, in pieces of its text. */
struct match_rule {
        enum match_step step;
        const char *pattern;
        size_t n_pattern;
        const char *action; /* what comes after the pattern */
};

/* false if it is none. */
bool match_read(const char *text, struct match_rule *ret);

/* The action as a reply: 4xx or 5xx, so that no rule can accept anything, with an enhanced code of
 * x.7.1 if it has none. false if it is no such reply. */
bool match_read_reply(const struct match_rule *r, struct reply *ret);

/* The action as a number of seconds, from 1 to `max`. false if it is none. */
bool match_read_seconds(const struct match_rule *r, uint64_t max, uint64_t *ret);

bool match_is_like(const char *text, const char *pattern, size_t n_pattern);
