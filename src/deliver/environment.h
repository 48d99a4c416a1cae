/* SPDX-License-Identifier: MIT */
/* deliver/environment.h - the variables of smtpd-exec(7): the envelope, for a program. */
#pragma once

#include "broker/request.h"
#include "deliver/delivery.h"

/* The room that recipients take up. Starts zeroed with each transaction. */
struct environment_room {
        size_t n_addresses, n_options; /* octets of SMTPD_RCPT_TO and SMTPD_RCPT_OPTIONS so far */
};

/* Determines how much room there is. Must be called before the session is confined. */
void environment_measure(void);

/* Reserves room for a recipient. Returns false and the verdict 452 4.5.3 if there is none. */
bool environment_reserve(struct environment_room *room, const struct recipient *r,
                         struct reply *ret_verdict);

struct environment {
        size_t n;
        char text[REQUEST_TEXT_MAX]; /* "NAME=value" strings, each with its NUL */
};

/* Makes the variables that the session supplies to the broker. Returns false if there is no room
 * for them. */
bool environment_make(struct environment *v, const struct envelope *e, const struct message *m);
