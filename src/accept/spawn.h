/* SPDX-License-Identifier: MIT */
/* accept/spawn.h - starts a session: a process that executes this program again. It inherits:
 *
 * - the connection as descriptors 0 and 1, and standard error, unless that is a client's;
 * - the configuration, as a file that it reads and closes, and the client's address as accept(2)
 *   gave it;
 * - the socket to the TLS engine (accept/engine.h), and --tls=implicit if the connection
 *   begins with TLS;
 * - a pipe for its events (io/notify.h), and the output (io/output.h) if its strategy prints
 * messages; the environment has their numbers;
 * - our environment without variables that were for us only or name a peer, our limits, user, group
 * and working directory;
 * - SIGTERM, SIGINT and SIGHUP blocked, so that none kills it before it can send a 421.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "config/config.h"

/* Descriptors that a session may get, with their numbers in the environment (io/inherited.h). */
enum spawn_passed {
        SPAWN_TLS,          /* asks the TLS engine for its client */
        SPAWN_UPSTREAM_TLS, /* and that for upstreams */
        SPAWN_PASSWORD,     /* for upstreams */
        SPAWN_PASSED,
};

struct spawn {
        char program[PATH_MAX]; /* ours */
        char *text;             /* the configuration */
        size_t n_text;
        char hurry[2][48]; /* options that override it under load */
        int counter;
        int output;               /* -1: not passed on */
        int passed[SPAWN_PASSED]; /* -1: there is none */
};

/* Whether this program can be executed again; that needs /proc. */
bool spawn_is_possible(void);

/* Removes variables from the environment that would be wrong for sessions. */
void spawn_clean_environment(void);

/* Must be called before the first session, and after everything that needs our whole environment.
 * `counter` is the pipe for the sessions' events. */
void spawn_init(struct spawn *ret, int counter);

/* New sessions get this descriptor, or none (-1). */
void spawn_pass_on(struct spawn *s, enum spawn_passed which, int fd);

/* New sessions get this configuration. Returns 0; or -ENOMEM, and nothing has changed. */
int spawn_set_config(struct spawn *s, const struct config *c);

/* A connection. */
struct spawn_client {
        int connection;
        struct peer peer;
        bool is_tls;      /* it begins with TLS */
        bool is_in_hurry; /* under load: at most ten seconds of timeout and five errors */
};

/* Starts a session for this client; the caller still has to close the connection. Returns its pid
 * or a negative errno. */
pid_t spawn_session(const struct spawn *s, const struct spawn_client *client);
