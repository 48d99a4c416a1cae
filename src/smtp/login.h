/* SPDX-License-Identifier: MIT */
/* smtp/login.h - an exchange of AUTH in which everybody is believed: PLAIN (RFC 4616), and LOGIN as
 * clients speak it. */
#pragma once

#include <stddef.h>

#include "smtp/auth.h"
#include "smtp/reply.h"

#define LOGIN_MECHANISMS "PLAIN LOGIN"

enum { LOGIN_USER_MAX = 255 };

/* Starts zeroed; after it has ended it begins anew. */
struct login {
        enum login_state {
                LOGIN_IDLE,
                LOGIN_IN_PLAIN, /* it is to say its name and password */
                LOGIN_AT_NAME,
                LOGIN_AT_PASSWORD,
        } state;
        char name[LOGIN_USER_MAX + 1]; /* the client's, as it said it: the last that was whole */
};

/* A line as SERVER_AUTH has it (smtp/server.h). The answer is 334 and a challenge, 235 if it is
 * well formed, or a refusal. */
void login_step(struct login *l, const char *line, size_t n, struct challenge *ret_challenge,
                struct reply *ret);
