/* deliver/program.h - run a program with a message: the contract of smtpd-exec(7).
 *
 * The program gets the complete message on standard input and the envelope in its environment, and decides by the first
 * line of its standard output, or else by its exit status.
 */
#pragma once

#include <stdint.h>

#include "broker/request.h"
#include "deliver/delivery.h"

/* What an exit status says. */
struct program_verdict {
        int status;
        struct fixed_reply verdict;
};

/* A program to run. */
struct program {
        const char *name;                       /* for the log */
        struct request request;                 /* which one it is to the broker: index, command, list */
        uint64_t timeout;                       /* seconds; then it is killed, with its process group */
        const struct program_verdict *verdicts; /* its own table of exit statuses, and no replies on
                                                   its standard output; NULL: smtpd-exec(7) */
        size_t n_verdicts;
        enum reply_by by;                       /* whose words its verdicts are */
};

/* All that can fail before it runs, but for what the broker does. If it does it returns false, and
 * `ret_refusal` is the refusal. */
bool program_check(const struct program *p, const struct envelope *e, struct message *m,
                   struct reply *ret_refusal);

/* Runs it with the message, and sets the verdict of all addressees to what it says. */
void program_run(const struct program *p, struct envelope *e, struct message *m);
