/* SPDX-License-Identifier: MIT */
/* deliver/verdict.h - turns the output and exit status of a program into a reply: smtpd-exec(7),
 * The verdict. */
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

/* Appends as much as there is room for, with '?' for NUL. */
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

/* Whether the first line is a reply, or looks like one: verdict_judge() has then used or refused
 * it. */
bool verdict_has_reply(const struct output *o);

/* Whether it is a valid reply of 4xx or 5xx. */
bool verdict_is_refusal(const struct output *o);

/* Takes the header fields of a filter that accepted the message. If they are invalid the verdict
 * becomes 451. */
void verdict_take_fields(struct fields *ret, const struct printed *p, struct reply *verdict,
                         struct ignored *ret_ignored);

/* Sets the verdict, and what was ignored. */
void verdict_judge(const struct program *p, const struct ending *e, const struct output *o,
                   struct reply *ret, struct ignored *ret_ignored);
