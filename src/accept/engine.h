/* SPDX-License-Identifier: MIT */
/* accept/engine.h - a process that speaks TLS for our sessions, and may have the key: smtpd-tls(8).
 *
 * It is started before we switch the user. Sessions send requests to a socket that they inherit. A
 * keeper (accept/keeper.h) restarts the engine if it ends; requests wait on the socket meanwhile.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "accept/listeners.h"
#include "config/config.h"

/* Whether it speaks TLS with our clients, as a server, or with upstreams, as their client; then it
 * has no key. */
enum engine_role { ENGINE_FOR_CLIENTS, ENGINE_FOR_UPSTREAMS };

struct engine {
        enum engine_role role;
        int requests; /* the sessions' end; -1: there is no engine */
        int served;   /* the engine's end; -1 if there is no keeper that could give it to another */
        int orders;   /* to the keeper; -1 if the keeper has ended */
        pid_t keeper;
        bool is_of_root;
        char **arguments;
};

/* Initialises it without an engine. */
void engine_init(struct engine *ret, enum engine_role role);

/* Starts an engine if the configuration needs one, and waits until it is ready. Returns 0, or an
 * exit status after logging why. */
int engine_start(struct engine *e, const struct config *c, const struct listeners *l);

/* The same with another configuration: renews, replaces, starts or stops the engine. New sessions
 * must get `requests`, which may have changed. Returns false after logging why if that fails; then
 * nothing has changed. */
bool engine_reload(struct engine *e, const struct config *c, const struct listeners *l);

/* To be called when `orders` is readable: replaces a keeper that has ended. If that fails, the
 * engine goes on, and after its end sessions hear that there is none, until a reload. Does nothing
 * without an engine. */
void engine_keep(struct engine *e);

/* Ends the engine. */
void engine_stop(struct engine *e);
