/* SPDX-License-Identifier: MIT */
/* accept/equipment.h - what sessions get that must be obtained before we switch the user: TLS
 * engines, and the password for upstreams.
 */
#pragma once

#include "accept/engine.h"
#include "accept/password.h"
#include "accept/spawn.h"

struct equipment {
        struct engine for_clients, for_upstreams;
        struct password password;
};

/* Initialises it without any. */
void equipment_init(struct equipment *ret);

/* Starts and reads what the configuration needs. Returns 0, or an exit status after logging why. */
int equipment_start(struct equipment *e, const struct config *c, const struct listeners *l);

/* The same with another configuration. Returns false after logging why if that configuration must
 * not be used. */
bool equipment_reload(struct equipment *e, const struct config *c, const struct listeners *l);

/* Passes it on to new sessions. */
void equipment_pass_on(const struct equipment *e, struct spawn *s);

/* To be called when a keeper's socket is readable: see engine_keep(). */
void equipment_keep(struct equipment *e);

/* Ends the engines. */
void equipment_stop(struct equipment *e);
