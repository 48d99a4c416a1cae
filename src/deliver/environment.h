/* SPDX-License-Identifier: MIT */
/* deliver/environment.h - the variables of smtpd-exec(7): the envelope, for a program. */
#pragma once

#include "broker/request.h"
#include "deliver/delivery.h"

/* Recipients that fit into it. Starts zeroed with each transaction. */
struct environment_room {
        size_t n_addresses, n_options; /* octets of SMTPD_RCPT_TO and SMTPD_RCPT_OPTIONS so far */
};

/* Finds out how much room there is: before the session is confined. */
void environment_measure(void);

/* Takes room for one more. Returns false if there is none: the verdict is 452 4.5.3. */
bool environment_reserve(struct environment_room *room, const struct recipient *r,
                         struct reply *ret_verdict);

struct environment {
        size_t n;
        char text[REQUEST_TEXT_MAX]; /* "NAME=value" strings, each with its NUL */
};

/* The variables that the broker does not know by itself. false if there is no room for them. */
bool environment_make(struct environment *v, const struct envelope *e, const struct message *m);
