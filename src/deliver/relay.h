/* SPDX-License-Identifier: MIT */
/* deliver/relay.h - who may relay through us, and to whom.
 *
 * A recipient is allowed if its domain is in relay-to, or the client is in relay-from (loopback and
 * local sockets, unless the configuration says otherwise), or has authenticated: then the upstream
 * decides.
 */
#pragma once

#include <stdbool.h>

#include "config/config.h"
#include "smtp/command.h"
#include "smtp/reply.h"

/* The options of a strategy that uses this. */
#define RELAY_OPTIONS "relay-to relay-from"

/* Returns true if mail from this client may be passed on to this recipient; otherwise sets the
 * refusal. Sender-specified routing (RFC 5321 section 3.6.1 and appendix F.2) is always refused. */
bool relay_check(const struct config *c, const struct peer *p, bool is_authenticated,
                 const struct recipient *r, struct reply *ret_verdict);
