/* SPDX-License-Identifier: MIT */
/* broker/broker.h - the broker: what a session has done for it that needs a name, a socket or a
 * program.
 *
 * It is a copy of the session's process, made before the first octet of the client is read,
 * and reads no SMTP. The session confines itself after that, and has a socket to its broker
 * left: it can ask for what is configured, one thing at a time, and for nothing else
 * (broker/request.h). /
 */
#pragma once

#include "broker/prologue.h"
#include "broker/request.h"
#include "broker/wire.h"
#include "io/patience.h"

/* Starts the broker of this process. Returns 0 or a negative errno. */
int broker_start(const struct services *s);

/* The socket to it; -1 without a broker. */
int broker_socket(void);

/* Says who the client is, if the services have a balancer: once, and before all else. "": the
 * balancer names nobody. */
void broker_tell_peer(const char *client);

/* Runs a program with a message, for at most so many milliseconds. `message` is a file without a
 * name; `r` says which program, and `variables` are as request_check_variables() wants them. The
 * output is in `ret_output`. ANSWER_LOST: there is no answer, and the program may have run. */
void broker_run(const struct request *r, const char *variables, int message, struct patience *p,
                struct answer *ret, char ret_output[static ANSWER_TEXT_MAX]);

/* Connects to an endpoint of the services, and has its prologue said (broker/prologue.h). Returns a
 * descriptor that is closed on exec and does not block; or a negative errno, and in `*ret_why` what
 * failed, valid until the next call. The result is empty without a prologue, or if there was no
 * connection. */
int broker_connect(unsigned endpoint, uint64_t milliseconds, struct patience *p,
                   struct prologue_result *ret, const char **ret_why);

/* Whether this address is that of a list of Mailman 2.1, by its local part: ANSWER_DONE (and
 * which), ANSWER_NONE, or ANSWER_UNABLE, ANSWER_FAILED or ANSWER_LOST and the reason. */
void broker_find_list(const struct address *a, enum request_purpose purpose, struct patience *p,
                      struct answer *ret);

/* Starts a TLS engine with a connection, its control socket and the plain side: smtpd-tls(8).
 * Returns whether it was; or else `ret->reason` says why not. */
bool broker_start_tls(const struct passed *p, struct answer *ret);

/* Ends it, and waits until it has: two seconds at most. */
void broker_stop(void);
