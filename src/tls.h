/* SPDX-License-Identifier: MIT */
/* tls.h - the session's end of TLS: it asks an engine to speak TLS with its client, and speaks
 * SMTP in plain with the engine from then on. The key, and every library, are the engine's.
 *
 * An engine is one that started us (UCSPI-TLS: $SSLCTLFD), one that all sessions share (its
 * socket is inherited, or that of tls-engine=), or one of our own, which the broker starts.
 * smtpd-tls(8) has what is said between the two.
 */
#pragma once

#include <stdbool.h>

#include "broker/request.h"
#include "config/config.h"
#include "io/channel.h"
#include "io/peer.h"
#include "smtp/security.h"
#include "smtp/server.h"

/* Finds the engine, before the session is confined. Returns what the server does with it. A
 * transcript is its user's own, and has none. */
enum server_tls tls_find(const struct config *c, const struct channel *client, bool is_transcript);

/* Whether it is one that the broker has to start, by the services that tls_need() names. */
bool tls_needs_broker(void);
void tls_need(struct services *ret);

/* For the sandbox: the socket of an engine that is shared; what is shut down at the end, if
 * that is not standard output. -1: there is none. */
int tls_request_socket(void);
int tls_farewell_socket(void);

/* Asks it to begin with the client's next octet, and leaves the channel as it is: what is said and
 * flushed now is still heard in clear. Returns false if it cannot be asked: why is in the log. */
bool tls_start(const struct config *c, const struct peer *p, struct channel *client);

/* Waits until TLS is there: the channel leads through the engine after that. Returns whether
 * it is, and what is known of it; or else the reason. */
bool tls_finish(struct channel *client, struct security *ret,
                char ret_reason[static SECURITY_REASON_MAX]);

/* Whether the engine is gone while there is TLS: then an end of input is none of the client's. */
bool tls_is_lost(void);

/* Lets it say farewell to the client, for two seconds at most. */
void tls_end(const struct channel *client);
