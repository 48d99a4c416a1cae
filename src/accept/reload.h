/* SPDX-License-Identifier: MIT */
/* accept/reload.h - the configuration in use, and how another one takes its place (SIGHUP). */
#pragma once

#include <stdbool.h>

#include "accept/equipment.h"
#include "accept/listeners.h"
#include "accept/sessions.h"
#include "accept/spawn.h"
#include "config/config.h"

/* Reads the configuration again; returns false, having said why, if it is not to be used. */
typedef bool reload_load(void *context, struct config *ret);

struct reload {
        struct config *config, *spare; /* the one in use, and room to read it again */
        reload_load *load;
        void *context;
        struct sessions *sessions;   /* which have to have room for max-connections */
        struct spawn *spawn;         /* what new sessions get */
        struct equipment *equipment; /* likewise: engines of TLS, the password for upstreams */
        const struct listeners *listeners;
};

/* Takes the configuration into use for the first time. Returns 0, or an exit status, having said
 * why. */
int reload_first(struct reload *r);

/* Reads it again, and takes it into use if a session could be opened with it. true if it is another
 * one now. */
bool reload_again(struct reload *r);
