/* SPDX-License-Identifier: MIT */
/* smtp/login.h - AUTH that accepts every login: PLAIN (RFC 4616), and LOGIN as clients speak it. */
#pragma once

#include <stddef.h>

#include "smtp/auth.h"
#include "smtp/reply.h"

#define LOGIN_MECHANISMS "PLAIN LOGIN"

enum { LOGIN_USER_MAX = 255 };

/* Starts zeroed, and can be reused after an exchange has ended. */
struct login {
        enum login_state {
                LOGIN_IDLE,
                LOGIN_IN_PLAIN, /* it is to say its name and password */
                LOGIN_AT_NAME,
                LOGIN_AT_PASSWORD,
        } state;
        char name[LOGIN_USER_MAX + 1]; /* the client's, as it said it: the last that was whole */
};

/* Takes a line as in SERVER_AUTH (smtp/server.h). The reply is 334 with a challenge, 235 if the
 * response is well formed, or a refusal. */
void login_step(struct login *l, const char *line, size_t n, struct challenge *ret_challenge,
                struct reply *ret);
