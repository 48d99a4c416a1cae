/* SPDX-License-Identifier: MIT */
/* smtp/match.h - rules for the steps of a session: a reply of ours, or a delay.
 *
 *      reply = STEP PATTERN NNN [ x.y.z ] TEXT         delay = STEP PATTERN SECONDS
 *
 * In a pattern, "*" matches any number of characters and "?" one; nothing else is special, and
 * ASCII letters match in either case. Matching takes at most (length of pattern) * (length of text)
 * steps.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smtp/reply.h"

/* What the pattern is compared with. */
enum match_step {
        MATCH_CONNECT, /* the client's address */
        MATCH_HELO,    /* its name */
        MATCH_MAIL,    /* the sender; "<>" is the null one */
        MATCH_RCPT,    /* the recipient */
        MATCH_DATA,    /* any recipient, at DATA */
        MATCH_MESSAGE, /* likewise, when the message is complete */
};

/* A parsed rule. The pointers point into its text. */
struct match_rule {
        enum match_step step;
        const char *pattern;
        size_t n_pattern;
        const char *action; /* what comes after the pattern */
};

/* Parses a rule. Returns false if the text is not one. */
bool match_read(const char *text, struct match_rule *ret);

/* Parses the action as a reply: 4xx or 5xx, so that no rule can accept anything. The enhanced code
 * defaults to x.7.1. Returns false if it is not such a reply. */
bool match_read_reply(const struct match_rule *r, struct reply *ret);

/* Parses the action as a number of seconds, from 1 to `max`. Returns false if it is not. */
bool match_read_seconds(const struct match_rule *r, uint64_t max, uint64_t *ret);

bool match_is_like(const char *text, const char *pattern, size_t n_pattern);
