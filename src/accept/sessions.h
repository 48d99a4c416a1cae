/* SPDX-License-Identifier: MIT */
/* accept/sessions.h - the running sessions: each is a child process, and serves one source. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "accept/figures.h"
#include "accept/source.h"

struct served {
        pid_t pid;
        struct source source;
};

struct sessions {
        struct served *items;
        size_t n, room;
        struct figures *figures; /* where sessions are counted */
};

/* Makes room for `wanted` sessions, or for the running ones if they are more. Returns 0 or -ENOMEM.
 */
int sessions_make_room(struct sessions *s, size_t wanted);

/* The number of sessions that serve this source. */
size_t sessions_of(const struct sessions *s, const struct source *source);

/* Adds a session, for which there must be room. */
void sessions_add(struct sessions *s, pid_t pid, const struct source *source);

/* Removes sessions whose process has ended, and logs those that a signal ended. */
void sessions_reap(struct sessions *s);

/* Sends all of them a signal: SIGTERM to end, STOP_SOON (io/patience.h) after the transaction under
 * way. */
void sessions_signal(const struct sessions *s, int signal);
