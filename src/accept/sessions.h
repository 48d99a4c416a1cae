/* SPDX-License-Identifier: MIT */
/* accept/sessions.h - the sessions that run: each is a process of ours, and serves one source. */
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
        struct figures *figures; /* those of sessions are counted there */
};

/* Makes room for `wanted` sessions, or for those that run if they are more. Returns 0 or
 * -ENOMEM. */
int sessions_make_room(struct sessions *s, size_t wanted);

/* How many of them serve this source. */
size_t sessions_of(const struct sessions *s, const struct source *source);

/* A new one, for which there has to be room. */
void sessions_add(struct sessions *s, pid_t pid, const struct source *source);

/* Forgets those whose process has ended. The log says which of them were killed. */
void sessions_reap(struct sessions *s);

/* Sends all of them a signal: SIGTERM to end, STOP_SOON (io/patience.h) after the transaction under
 * way. */
void sessions_signal(const struct sessions *s, int signal);
