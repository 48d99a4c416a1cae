/* deliver/program.h - run a program with a message: the contract of smtpd-exec(7).
 *
 * The program gets the complete message on standard input and the envelope in its environment, and decides by the first
 * line of its standard output, or else by its exit status.
 */
#pragma once

#include <stdint.h>

#include "deliver/delivery.h"

/* Recipients that fit into the environment of a program. Starts zeroed with each transaction. */
struct program_room {
        size_t n_addresses, n_options; /* octets of SMTPD_RCPT_TO and SMTPD_RCPT_OPTIONS so far */
};

/* Whether there is room for one more; it is counted then. If not, the verdict is 452 4.5.3. */
bool program_has_room(struct program_room *room, const struct recipient *r, struct reply *ret_verdict);

/* Runs argv[0] (found in $PATH if it has no slash) and sets the verdict of all addressees to what it says. It is killed,
 * with its process group, after `timeout` seconds. */
void program_run(char *const *argv, uint64_t timeout, const char *hostname, struct envelope *e, struct message *m);
