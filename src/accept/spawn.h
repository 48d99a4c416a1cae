/* SPDX-License-Identifier: MIT */
/* accept/spawn.h - a session is a process of its own, which executes this program afresh. This is
 * the one place that says what it inherits:
 *
 * - the connection as descriptors 0 and 1, and standard error, unless that is a client's;
 * - the configuration, as a file that it reads and closes, and the client's address as accept(2)
 *   gave it;
 * - the socket that asks the TLS engine (accept/engine.h), and --tls=implicit if the connection
 *   begins with TLS;
 * - a pipe in which it counts its messages (io/notify.h), and the output (io/output.h) if its
 *   strategy shows messages; the environment says their numbers;
 * - our environment without what was for us only or names a peer, our limits, user, group and
 * working directory;
 * - SIGTERM, SIGINT and SIGHUP blocked until it takes them: none kills it before it can tell its
 *   client.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "config/config.h"

/* What a session may be given, and is told the number of by a variable (io/inherited.h). */
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
        char hurry[2][48]; /* options that beat it while many sessions run */
        int counter;
        int output;               /* -1: not passed on */
        int passed[SPAWN_PASSED]; /* -1: there is none */
};

/* Whether this program can be executed afresh. It cannot without /proc. */
bool spawn_is_possible(void);

/* Removes from the environment what says something about us, and would be wrong for others. */
void spawn_clean_environment(void);

/* Before the first session, and after everything that wants our whole environment. `counter` is
 * where sessions are to count their messages. */
void spawn_init(struct spawn *ret, int counter);

/* Later sessions get this descriptor; or none (-1). */
void spawn_pass_on(struct spawn *s, enum spawn_passed which, int fd);

/* Later sessions get this configuration. Returns 0, or -ENOMEM and nothing has changed. */
int spawn_set_config(struct spawn *s, const struct config *c);

/* A connection. */
struct spawn_client {
        int connection;
        struct peer peer;
        bool is_tls;      /* it begins with TLS */
        bool is_in_hurry; /* we wait for it ten seconds at most, and bear five errors */
};

/* Starts a session with this client, which has the connection too. Returns its pid or a negative
 * errno. */
pid_t spawn_session(const struct spawn *s, const struct spawn_client *client);
