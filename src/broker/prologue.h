/* SPDX-License-Identifier: MIT */
/* broker/prologue.h - prepares a connection to an upstream before the session gets it: STARTTLS,
 * AUTH.
 *
 * A separate process does this, because the broker is not confined and no session may have the
 * password. It can ask the broker only for TLS on this connection. The session then begins again
 * with EHLO.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/request.h"
#include "smtp/reply.h"
#include "smtp/security.h"

/* The result for a connection. */
struct prologue_result {
        uint32_t failure;    /* enum client_result of deliver/client.h; 0: it can be handed over */
        uint32_t is_greeted; /* its greeting was heard */
        uint32_t is_secured; /* there is TLS: the plain side takes its place */
        uint32_t is_for_clear; /* TLS failed, and another connection may do without */
        char step[32];         /* of a failure, */
        char why[256];         /* in our words, */
        struct reply said;     /* or in the server's; code 0: it had none */
        struct security security;
        struct security_server server;
};

struct prologue;

/* What it needs. */
struct prologue_plan {
        const struct config *config;
        enum upstream_trust trust;
        char engine[PATH_MAX]; /* smtpd-tls */
        int requests;          /* where one that serves all is asked; -1: there is none */
        int password;          /* a file that has it, inherited; -1: there is none */

        /* Says it; in the process of its own, which is not confined yet. */
        void (*speak)(const struct prologue *p, struct prologue_result *ret);
};

/* What that process has. */
struct prologue {
        const struct prologue_plan *plan;
        const char *endpoint;
        int connection;
        int control, plain; /* of TLS: where the engine answers, and the plain side; -1: no TLS */
        int broker;         /* readable when the broker is gone */
        int64_t deadline;   /* io/deadline.h */
};

/* In the separate process: requests TLS, beginning with the next octet of the connection. Returns 0
 * or a negative errno. */
int prologue_ask_tls(const struct prologue *p);

/* In the broker: has a connection prepared, and takes ownership of it. Input on `session` cancels
 * it; -1: there is no session. Returns the descriptor for the session; or -1, with the reason in
 * `ret`. */
int prologue_run(const struct prologue_plan *plan, const char *endpoint, int connection,
                 int session, int64_t deadline, struct prologue_result *ret);
