/* SPDX-License-Identifier: MIT */
/* confine.h - what a session does before the first octet of a stranger: it starts its broker,
 * and gives up all else. */
#pragma once

#include "broker/prologue.h"
#include "mail.h"

/* What came of it; NONE: it was not tried. */
enum confinement { CONFINEMENT_NONE, CONFINED, NOT_CONFINED };

/* What is needed to prepare connections to upstreams (broker/prologue.h): the process that does it
 * confines itself as a session does. */
void confine_plan_prologue(const struct config *c, enum upstream_trust trust,
                           struct prologue_plan *ret);

/* Starts the broker that the strategy, or TLS, needs, unless it runs. Returns 0, or a negative
 * errno; it has said why. */
int confine_start_broker(const struct mail *m, const struct config *c, const struct peer *p,
                         const struct channel *client);

/* Confines the session, unless that is not wanted. */
enum confinement confine(const struct config *c, const struct channel *client, bool is_transcript);
