/* SPDX-License-Identifier: MIT */
/* accept/reload.h - the configuration in use, and its replacement at SIGHUP. */
#pragma once

#include <stdbool.h>

#include "accept/equipment.h"
#include "accept/listeners.h"
#include "accept/sessions.h"
#include "accept/spawn.h"
#include "config/config.h"

/* Reads the configuration again. Returns false after logging why if it must not be used. */
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

/* Applies the first configuration. Returns 0, or an exit status after logging why. */
int reload_first(struct reload *r);

/* Reads the configuration again, and applies it if a session could be opened with it. Returns
 * whether it was applied. */
bool reload_again(struct reload *r);
