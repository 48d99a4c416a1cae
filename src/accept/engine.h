/* SPDX-License-Identifier: MIT */
/* accept/engine.h - a process that speaks TLS for our sessions, and may have the key: smtpd-tls(8).
 *
 * It is started before we change the user. Sessions ask it at a socket that they inherit; a keeper
 * (accept/keeper.h) starts it anew when it ends, and requests wait there meanwhile.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "accept/listeners.h"
#include "config/config.h"

/* Whom it speaks TLS with: as a server with our clients, or as their client with upstreams, and
 * then it has no key. */
enum engine_role { ENGINE_FOR_CLIENTS, ENGINE_FOR_UPSTREAMS };

struct engine {
        enum engine_role role;
        int requests; /* the sessions' end; -1: there is no engine */
        int served;   /* the engine's end */
        int orders;   /* to the keeper; -1: that is gone */
        pid_t keeper;
        bool is_of_root;
        char **arguments;
};

/* Nothing is there yet. */
void engine_init(struct engine *ret, enum engine_role role);

/* Starts an engine if the configuration wants one, and waits until it is ready. Returns 0 or an
 * exit status, having said why. */
int engine_start(struct engine *e, const struct config *c, const struct listeners *l);

/* The same with another configuration: the engine is renewed, or another takes its place, or none.
 * Later sessions are to get `requests`, which may have changed. false, having said why, if it
 * cannot be: then nothing has changed. */
bool engine_reload(struct engine *e, const struct config *c, const struct listeners *l);

/* When `orders` is readable: if the keeper is gone another takes its place. Nothing if there is no
 * engine. */
void engine_keep(struct engine *e);

/* The engine ends. */
void engine_stop(struct engine *e);
