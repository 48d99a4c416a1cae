/* deliver/program.h - run a program with a message: the contract of smtpd-exec(7).
 *
 * The program gets the complete message on standard input and the envelope in its environment, and decides by the first
 * line of its standard output, or else by its exit status.
 */
#pragma once

#include <stdint.h>

#include "deliver/delivery.h"

/* What an exit status says. */
struct program_verdict {
        int status;
        struct fixed_reply verdict;
};

/* A program to run, found in $PATH if argv[0] has no slash. */
struct program {
        char *const *argv;
        const char *hostname;                    /* of ours, for its environment */
        uint64_t timeout;                        /* seconds; then it is killed, with its process group */
        const struct program_verdict *verdicts;  /* its own table of exit statuses, and no replies on its standard output;
                                                  * NULL: the contract of smtpd-exec(7) */
        size_t n_verdicts;
        enum reply_by by;                        /* whose words its verdicts are */
};

/* A program that is ready to run with a message: it has its environment and descriptors. */
struct program_job;

enum { PROGRAM_DESCRIPTORS = 5 }; /* that a job holds; one more while it runs */

/* Does all that can fail before it runs. `p->argv` stays where it is. NULL if that fails: then `e`
 * says so for the log, which has the reason, and there is the refusal. */
struct program_job *program_prepare(const struct program *p, struct envelope *e, struct message *m,
                                    struct reply *ret_refusal);

/* Runs it, and sets the verdict of all addressees to what it says. The job is over. */
void program_perform(struct program_job *j, struct envelope *e);

/* It is not to run, or is NULL. */
void program_drop(struct program_job *j);

/* All of that: runs it with the message, or refuses. */
void program_run(const struct program *p, struct envelope *e, struct message *m);
