/* SPDX-License-Identifier: MIT */
/* authentication.h - who answers a client's AUTH: the destination of its mail, or, with auth=any,
 * nobody. */
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

/* Whether the server takes AUTH. */
enum server_auth authentication_rule(const struct config *c, const struct peer *p);

/* What to offer after the strategy's hello(). */
const char *authentication_mechanisms(const struct config *c, const struct mail *m);

/* Answers a SERVER_AUTH, and says in the log how an exchange ended. */
void authentication_step(struct authentication *a, const struct session_log *log,
                         const struct mail *m, struct server *s, const struct event *line);

/* Says 334 with the challenge. Returns as channel_write(). */
int authentication_challenge(const struct authentication *a, struct channel *client);
