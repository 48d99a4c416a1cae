/* SPDX-License-Identifier: MIT */
/* session_internal.h - what the parts of a session share: the loop (session.c), TLS
 * (session_tls.c), and rules of the configuration (session_rules.c).
 */
#pragma once

#include "authentication.h"
#include "io/channel.h"
#include "io/receipt.h"
#include "mail.h"
#include "session_log.h"
#include "smtp/server.h"

struct session {
        struct channel *channel;
        struct patience *patience;
        enum session_end end;
        struct peer peer;
        struct session_log log;
        struct security security; /* of the connection */
        struct security outer;    /* of the client's, to the balancer */
        bool is_transcript;
        int64_t idle_at; /* when what the strategy holds is let go; INT64_MAX: it has nothing */
        struct server server; /* what is large comes last, so that the rest fits into few pages */
        struct mail mail;
        struct receipt receipt;
        struct authentication authentication;
};

/* Ends the session because there is no more input: `n` is as returned by channel_read(). */
void session_end_input(struct session *s, int64_t n);

/* Sends all replies. Returns false if the client is lost; then the session ends. */
bool session_flush(struct session *s);

/* Starts the broker and confines the session, before the first octet of the client is read. Returns
 * false if a needed broker cannot be started; then the session ends. */
bool session_prepare(struct session *s);

/* Handles STARTTLS, with `n_after` octets of input after it; and continues after its 220 was sent.
 */
void session_start_tls(struct session *s, size_t n_after);
void session_secure(struct session *s);

/* Begins a session with TLS from the first octet, before the greeting. */
void session_begin_with_tls(struct session *s);

/* Applies rules for `connect` before the greeting: a reply replaces it, and ends the session. */
void session_rules_connect(struct session *s);

/* Applies rules to a question before the strategy is asked. Returns false if it has been answered.
 */
bool session_rules_ask(struct session *s, const struct event *e);

/* The message is complete: waits as delay= says. Returns false if the session has to end. */
bool session_rules_wait(struct session *s);

/* Sets the verdicts: those of rules, and of the strategy. */
void session_rules_deliver(struct session *s);
