/* SPDX-License-Identifier: MIT */
/* deliver/verdict.h - what a program said of a message, as a reply: smtpd-exec(7), The verdict. */
#pragma once

#include "deliver/program.h"
#include "smtp/fields.h"

enum {
        OUTPUT_MAX = 1024, /* octets of standard output we keep: the reply, and some of the rest */
        OUTPUT_LOGGED = 256
};

/* The beginning of what it wrote to standard output. */
struct output {
        size_t n;
        bool is_cut; /* there was more */
        char text[OUTPUT_MAX + 1];
};

/* Adds to the output what there is room for, with '?' for NUL. */
void output_add(struct output *o, const char *data, size_t n);

/* How a program ended. */
struct ending {
        int wait_status;
        /* 0, or why it was killed: -ETIMEDOUT, -ETIME (too late), -ECANCELED (told to stop) */
        int error;
        unsigned seconds; /* that it had then */
};

/* What was ignored of the output. */
struct ignored {
        const char *text;   /* in the output; NULL: nothing was */
        const char *reason; /* why, and what to do */
        bool is_invalid;    /* it was to be a reply, and is none: the verdict is 451 */
};

/* Whether its first line is a reply, or claims to be one: then verdict_judge() has judged it. */
bool verdict_has_reply(const struct output *o);

/* Of a filter that lets the message go on: its header fields. If they cannot be added the verdict
 * becomes 451. */
void verdict_take_fields(struct fields *ret, const struct printed *p, struct reply *verdict,
                         struct ignored *ret_ignored);

/* Sets the verdict. */
void verdict_judge(const struct program *p, const struct ending *e, const struct output *o,
                   struct reply *ret, struct ignored *ret_ignored);
