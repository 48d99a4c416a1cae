/* SPDX-License-Identifier: MIT */
/* accept/listeners.h - the listening sockets: inherited ones and those in the configuration. */
#pragma once

#include <stddef.h>

#include "config/config.h"
#include "io/listen.h"

enum { LISTENERS_MAX = 64 };

struct listeners {
        size_t n;
        struct listener items[LISTENERS_MAX];
};

/* Takes inherited listening sockets: from systemd (sd_listen_fds(3)), or as standard input
 * (inetd(8), wait). Those whose name begins with "tls" are for TLS from the first octet. `ret` must
 * be empty. Returns false if there are none. */
bool listeners_take_passed(struct listeners *ret);

/* Opens those of the options `listen` and `listen-tls`. Logs each address that is unavailable, with
 * the reason. Returns 0 or an exit status. */
int listeners_open(struct listeners *l, const struct config *c);

/* Logs a `listening` line for each socket. */
void listeners_say(const struct listeners *l, const struct config *c);

void listeners_close(struct listeners *l);
