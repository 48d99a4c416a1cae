/* SPDX-License-Identifier: MIT */
/* accept/acceptor.h - a fresh process for each connection, within limits. Knows no SMTP but the 421
 * that those get for whom there is no room.
 *
 * Each connection is served by this program, executed afresh, in an address space of its own:
 * accept/spawn.h says what it inherits.
 */
#pragma once

#include "accept/listeners.h"
#include "accept/reload.h"
#include "config/config.h"

/* What it was given. */
struct acceptor_start {
        struct config *config;
        int mistakes;                /* what config_load() returned for it */
        struct listeners *listeners; /* the passed ones; the configuration's are added */
        reload_load *load;           /* for SIGHUP */
        void *context;               /* of load */
};

/* Listens where the configuration says too, gives up root, and serves until SIGTERM or SIGINT. If
 * it cannot serve it tells those who wait at passed sockets. Returns an exit status. */
int acceptor_run(const struct acceptor_start *s);
