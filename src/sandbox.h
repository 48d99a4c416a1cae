/* SPDX-License-Identifier: MIT */
/* sandbox.h - confines a session, before it reads from the client.
 *
 * After that it can use the descriptors it has, send requests to its broker (broker/broker.h) and
 * its TLS engine (tls.h), create files without a name for long messages, and create pairs of
 * sockets for TLS. This is the same for every strategy. Any other system call kills the process
 * (SIGSYS, by seccomp(2)). It cannot gain privileges, dumps no core, has few descriptors, and
 * cannot be debugged by its user.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The sockets of a session, or -1. */
struct sandbox_sockets {
        int broker;
        int engine;   /* of TLS, shared with other sessions */
        int farewell; /* what is shut down at the end, if neither standard input nor output */
};

/* Confines the process, and limits its descriptors to `n_descriptors`. Returns whether it is
 * confined. */
bool sandbox_enter(const struct sandbox_sockets *s, size_t n_descriptors);

/* Why sessions cannot be confined here; NULL: they can. */
const char *sandbox_missing(void);
