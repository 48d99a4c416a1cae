/* SPDX-License-Identifier: MIT */
/* accept/acceptor.h - accepts connections, within limits, and starts a process for each. Its only
 * SMTP is the 421 for clients that it turns away.
 *
 * Each connection is served by this program, executed again with its own address space;
 * accept/spawn.h says what it inherits.
 */
#pragma once

#include "accept/listeners.h"
#include "accept/reload.h"
#include "config/config.h"

/* What it was given. */
struct acceptor_start {
        struct config *config;
        int mistakes;                /* what config_load() returned */
        struct listeners *listeners; /* the inherited ones; those of the configuration are added */
        reload_load *load;           /* for SIGHUP */
        void *context;               /* of load */
};

/* Opens the configured sockets too, gives up root, and serves until SIGTERM or SIGINT. If it cannot
 * serve, it refuses the clients that wait on inherited sockets. Returns an exit status. */
int acceptor_run(const struct acceptor_start *s);
