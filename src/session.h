/* SPDX-License-Identifier: MIT */
/* session.h - one SMTP or LMTP session, from the greeting to the end: server, strategy and channel
 * brought together. */
#pragma once

#include "config/config.h"
#include "io/channel.h"
#include "io/peer.h"

/* Serves it, within the configuration's time limits. A transcript's lines may end with LF only.
 * Returns 0 when the session ended normally or for a reason on the peer's side, or the negative
 * errno of a strategy that cannot be opened; nothing was said to the client then. */
int session_run(const struct config *c, const struct peer *p, struct channel *channel,
                bool is_transcript);
