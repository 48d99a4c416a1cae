/* SPDX-License-Identifier: MIT */
/* broker/broker.h - the broker: the session's end of the broker, which opens connections and runs
 * programs for it.
 *
 * The broker is a copy of the session's process, made before the first octet of the client is read,
 * and reads no SMTP. The session then confines itself, and keeps a socket to the broker: over it,
 * it can request what is configured, one request at a time, and nothing else (broker/request.h).
 */
#pragma once

#include "broker/prologue.h"
#include "broker/request.h"
#include "broker/wire.h"
#include "io/patience.h"

/* Starts the broker of this process. Returns 0 or a negative errno. */
int broker_start(const struct services *s);

/* The socket to the broker, or -1. */
int broker_socket(void);

/* Tells the broker the client that a balancer names, "" for none; only if the services have a
 * balancer, once, before any other request. */
void broker_tell_peer(const char *client);

/* Runs a program with a message, for at most the milliseconds in `r`, which also says which
 * program. `message` is a file without a name; `variables` must satisfy request_check_variables().
 * The output is in `ret_output`. ANSWER_LOST means that there is no answer, and the program may
 * have run. */
void broker_run(const struct request *r, const char *variables, int message, struct patience *p,
                struct answer *ret, char ret_output[static ANSWER_TEXT_MAX]);

/* Connects to an endpoint of the services, with its prologue if there is one (broker/prologue.h).
 * Returns a non-blocking descriptor that is closed on exec; or a negative errno, and in `*ret_why`
 * what failed, valid until the next call. `ret` is empty without a prologue or a connection. */
int broker_connect(unsigned endpoint, uint64_t milliseconds, struct patience *p,
                   struct prologue_result *ret, const char **ret_why);

/* Whether the local part of this address belongs to a list of Mailman 2.1: ANSWER_DONE (and which
 * list), ANSWER_NONE, or, with a reason, ANSWER_UNABLE, ANSWER_FAILED or ANSWER_LOST. */
void broker_find_list(const struct address *a, enum request_purpose purpose, struct patience *p,
                      struct answer *ret);

/* Starts a TLS engine with a connection, its control socket and the plain side: smtpd-tls(8).
 * Returns false if it could not be started; `ret->reason` says why. */
bool broker_start_tls(const struct passed *p, struct answer *ret);

/* Ends the broker, and waits for its end, for at most two seconds. */
void broker_stop(void);
