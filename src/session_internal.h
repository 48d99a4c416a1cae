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

/* There is no more input: 0, or why, as channel_read() says it. */
void session_end_input(struct session *s, int64_t n);

/* Sends all replies. false: the client is lost, and the session ends. */
bool session_flush(struct session *s);

/* Before the first octet of the client is read: the broker, and the sandbox. false if there is no
 * broker although one is needed: then the session ends. */
bool session_prepare(struct session *s);

/* STARTTLS, with `n_after` octets of input behind it; and its 220 was said. */
void session_start_tls(struct session *s, size_t n_after);
void session_secure(struct session *s);

/* TLS from the first octet: nothing is said before it. */
void session_begin_with_tls(struct session *s);

/* Before the greeting: maybe another one is said in its place, and the session ends. */
void session_rules_connect(struct session *s);

/* A question, before the strategy has it. false: it is dealt with. */
bool session_rules_ask(struct session *s, const struct event *e);

/* The message is complete: waits as long as delay= says. false: the session ends meanwhile. */
bool session_rules_wait(struct session *s);

/* The verdicts: those of rules, and of the strategy. */
void session_rules_deliver(struct session *s);
