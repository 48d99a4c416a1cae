/* SPDX-License-Identifier: MIT */
/* accept/listeners.h - the sockets at which we listen: those that we were given, and those that the
 * configuration names. */
#pragma once

#include <stddef.h>

#include "config/config.h"
#include "io/listen.h"

enum { LISTENERS_MAX = 64 };

struct listeners {
        size_t n;
        struct listener items[LISTENERS_MAX];
};

/* Takes the listening sockets that we were given: by systemd (sd_listen_fds(3)), or as standard
 * input (inetd(8), wait). Those whose name begins with "tls" are for TLS from the first octet.
 * `ret` has none yet. false if it stays so. */
bool listeners_take_passed(struct listeners *ret);

/* Adds those of the options `listen` and `listen-tls`. Says of each address that cannot be had why.
 * Returns 0 or an exit status. */
int listeners_open(struct listeners *l, const struct config *c);

/* Logs where we listen, and what becomes of messages. */
void listeners_say(const struct listeners *l, const struct config *c);

void listeners_close(struct listeners *l);
