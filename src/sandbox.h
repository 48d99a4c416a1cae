/* SPDX-License-Identifier: MIT */
/* sandbox.h - a session confines itself, before it reads what a stranger sends.
 *
 * From then on it can use the descriptors it has, ask its broker (broker/broker.h) and its TLS
 * engine (tls.h), and make files without a name for a long message, and pairs of sockets for TLS:
 * the same with every strategy. Any other system call ends the process (SIGSYS). It is done with
 * seccomp(2). Privileges cannot be gained any more, there are no core files and few descriptors,
 * and the process cannot be debugged by its user.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What a session has, or -1. */
struct sandbox_sockets {
        int broker;
        int engine;   /* of TLS, shared with other sessions */
        int farewell; /* what is shut down at the end, if neither standard input nor output */
};

/* There can be so many descriptors from now on. Returns whether we are confined. */
bool sandbox_enter(const struct sandbox_sockets *s, size_t n_descriptors);

/* Why no session can be confined here; NULL: it can. */
const char *sandbox_missing(void);
