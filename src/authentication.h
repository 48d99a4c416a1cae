/* SPDX-License-Identifier: MIT */
/* authentication.h - answers a client's AUTH: with the upstream's replies, or, with auth=any, by
 * accepting every login. */
#pragma once

#include "config/config.h"
#include "io/channel.h"
#include "io/peer.h"
#include "mail.h"
#include "session_log.h"
#include "smtp/login.h"
#include "smtp/server.h"

/* Starts zeroed. */
struct authentication {
        struct login login;         /* of auth=any */
        struct challenge challenge; /* of the last 334. Last: few have any */
};

/* Whether the server accepts AUTH from this client. */
enum server_auth authentication_rule(const struct config *c, const struct peer *p);

/* The mechanisms to offer, after the strategy's hello(). */
const char *authentication_mechanisms(const struct config *c, const struct mail *m);

/* Answers a SERVER_AUTH, and logs the end of an exchange. */
void authentication_step(struct authentication *a, const struct session_log *log,
                         const struct mail *m, struct server *s, const struct event *line);

/* Sends 334 with the challenge. Returns as channel_write(). */
int authentication_challenge(const struct authentication *a, struct channel *client);
