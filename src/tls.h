/* SPDX-License-Identifier: MIT */
/* tls.h - the session's end of TLS: it asks an engine to speak TLS with its client, and then speaks
 * plain SMTP through the engine. Only the engine has the key and a TLS library.
 *
 * The engine is the one that started us (UCSPI-TLS: $SSLCTLFD), one that all sessions share (its
 * socket is inherited, or is that of tls-engine=), or one of our own, which the broker starts.
 * smtpd-tls(8) specifies the protocol between the two.
 */
#pragma once

#include <stdbool.h>

#include "broker/request.h"
#include "config/config.h"
#include "io/channel.h"
#include "io/peer.h"
#include "smtp/security.h"
#include "smtp/server.h"

/* Finds the engine, before the session is confined. Returns what the server offers. A transcript
 * has no engine. */
enum server_tls tls_find(const struct config *c, const struct channel *client, bool is_transcript);

/* Whether the broker has to start the engine; tls_need() adds that to its services. */
bool tls_needs_broker(void);
void tls_need(struct services *ret);

/* For the sandbox: the socket to a shared engine, and the socket to shut down at the end if it is
 * not standard output; or -1. */
int tls_request_socket(void);
int tls_farewell_socket(void);

/* Asks the engine to begin with the client's next octet. The channel is unchanged: output flushed
 * now is still sent in plain text. Returns false, after logging why, if it cannot be asked. */
bool tls_start(const struct config *c, const struct peer *p, struct channel *client);

/* Waits for the handshake; then the channel leads through the engine. Returns true and sets `ret`,
 * or returns false and sets the reason. */
bool tls_finish(struct channel *client, struct security *ret,
                char ret_reason[static SECURITY_REASON_MAX]);

/* Whether the engine has failed: then an end of input does not come from the client. */
bool tls_is_lost(void);

/* Lets the engine close TLS with the client, for at most two seconds. */
void tls_end(const struct channel *client);
