/* SPDX-License-Identifier: MIT */
/* session.h - one SMTP or LMTP session, from the greeting to the end: server, strategy and channel
 * brought together. */
#pragma once

#include "config/config.h"
#include "io/channel.h"
#include "io/peer.h"

/* Serves a session within the configured time limits. In a transcript lines may end with LF only.
 * Returns 0 if the session ended normally or for a reason on the client's side; or the negative
 * errno of a strategy that cannot be opened, and nothing was sent to the client. */
int session_run(const struct config *c, const struct peer *p, struct channel *channel,
                bool is_transcript);
