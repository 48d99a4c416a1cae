/* SPDX-License-Identifier: MIT */
/* confine.h - starts a session's broker and confines the session, before the first octet of the
 * client is read. */
#pragma once

#include "broker/prologue.h"
#include "mail.h"

/* The result; CONFINEMENT_NONE: not tried. */
enum confinement { CONFINEMENT_NONE, CONFINED, NOT_CONFINED };

/* Plans how connections to upstreams are prepared (broker/prologue.h), by a process that confines
 * itself like a session. */
void confine_plan_prologue(const struct config *c, enum upstream_trust trust,
                           struct prologue_plan *ret);

/* Starts the broker if the strategy or TLS needs one and it is not running. Returns 0, or a
 * negative errno after logging why. */
int confine_start_broker(const struct mail *m, const struct config *c, const struct peer *p,
                         const struct channel *client);

/* Confines the session, unless sandbox=no. */
enum confinement confine(const struct config *c, const struct channel *client, bool is_transcript);
