/* SPDX-License-Identifier: MIT */
/* accept/equipment.h - what sessions are given that we can have only before we change the user:
 * engines of TLS, and the password for upstreams.
 */
#pragma once

#include "accept/engine.h"
#include "accept/password.h"
#include "accept/spawn.h"

struct equipment {
        struct engine for_clients, for_upstreams;
        struct password password;
};

/* Nothing is there yet. */
void equipment_init(struct equipment *ret);

/* Starts and reads what the configuration wants. Returns 0 or an exit status, having said why. */
int equipment_start(struct equipment *e, const struct config *c, const struct listeners *l);

/* The same with another configuration. False, having said why, if that is not to be used. */
bool equipment_reload(struct equipment *e, const struct config *c, const struct listeners *l);

/* Later sessions get it. */
void equipment_pass_on(const struct equipment *e, struct spawn *s);

/* When there is something to read of a keeper: see engine_keep(). */
void equipment_keep(struct equipment *e);

/* The engines end. */
void equipment_stop(struct equipment *e);
