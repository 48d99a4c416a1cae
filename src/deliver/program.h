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

/* What an exit status says. */
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

/* The words of the command line of a program, and what becomes of them: it runs in /, but its name
 * is relative to where we are. `ret_path` stays in use. */
size_t program_count_words(char *const *command);
void program_make_argv(char *const *command, char **ret_argv, char ret_path[static PATH_MAX]);

/* A path as somebody wrote it, from the root on. Links stay. Returns false if that is not possible.
 */
bool program_make_absolute(const char *path, char ret[static PATH_MAX]);

/* All that can fail before it runs, but for what the broker does. If it does it returns false, and
 * `ret_refusal` is the refusal. */
bool program_check(const struct program *p, const struct envelope *e, struct message *m,
                   struct reply *ret_refusal);

/* Runs it with the message, and sets the verdict of all addressees to what it says. */
void program_run(const struct program *p, struct envelope *e, struct message *m);

/* The same, without a word to the addressees: `ret` is what it says. A filter's fields are empty
 * unless it lets the message go on. */
void program_ask(const struct program *p, struct envelope *e, struct message *m, struct reply *ret);
