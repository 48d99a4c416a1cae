/* SPDX-License-Identifier: MIT */
/* deliver/program.h - run a program with a message: the contract of smtpd-exec(7).
 *
 * The program gets the complete message on standard input and the envelope in its environment, and
 * decides by the first line of its standard output, or else by its exit status.
 */
#pragma once

#include <limits.h>
#include <stdint.h>

#include "broker/request.h"
#include "deliver/delivery.h"
#include "smtp/fields.h"

/* The verdict for an exit status. */
struct program_verdict {
        int status;
        struct fixed_reply verdict;
};

/* A program to run. */
struct program {
        const char *name; /* for the log */
        /* which one it is to the broker: index, command, list */
        struct request request;
        /* seconds; then it is killed, with its process group */
        uint64_t timeout;
        /* its own table of exit statuses, and no replies on its standard output; NULL: smtpd-
         * exec(7) */
        const struct program_verdict *verdicts;
        size_t n_verdicts;
        enum reply_by by; /* whose words its verdicts are */
        /* of a filter, which is asked only: what it adds to the message; NULL: it is who
         * delivers it */
        struct fields *fields;
};

/* Make the argv of a program from the words of its command line. The program runs in /, so a
 * relative name is made absolute, in `ret_path`, which must stay valid. */
size_t program_count_words(char *const *command);
void program_make_argv(char *const *command, char **ret_argv, char ret_path[static PATH_MAX]);

/* Makes a path absolute, without resolving links. Returns false if that is not possible.
 */
bool program_make_absolute(const char *path, char ret[static PATH_MAX]);

/* Does everything that can fail before the program runs, except in the broker. On failure it sets
 * `ret_refusal` and returns false. */
bool program_check(const struct program *p, const struct envelope *e, struct message *m,
                   struct reply *ret_refusal);

/* Runs the program with the message, and sets the verdict of all addressees. */
void program_run(const struct program *p, struct envelope *e, struct message *m);

/* The same, but sets `ret` instead of the addressees' verdicts. A filter's fields are empty unless
 * it accepts the message. */
void program_ask(const struct program *p, struct envelope *e, struct message *m, struct reply *ret);
