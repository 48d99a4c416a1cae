/* SPDX-License-Identifier: MIT */
/* deliver/relay.h - who may have us pass mail on, and to whom. Nobody relays by accident.
 *
 * A recipient is allowed if its domain is in relay-to, or the client is in relay-from (loopback and
 * local sockets, unless the configuration says otherwise), or has authenticated: the upstream knows
 * it then, and judges.
 */
#pragma once

#include <stdbool.h>

#include "config/config.h"
#include "smtp/command.h"
#include "smtp/reply.h"

/* The options that a strategy that asks here has. */
#define RELAY_OPTIONS "relay-to relay-from"

/* Returns true if we may pass on mail of this client for this recipient, or else sets the refusal.
 * Sender-specified routing (RFC 5321 section 3.6.1 and appendix F.2) is refused for everybody. */
bool relay_check(const struct config *c, const struct peer *p, bool is_authenticated,
                 const struct recipient *r, struct reply *ret_verdict);
