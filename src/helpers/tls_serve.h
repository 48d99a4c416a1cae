/* SPDX-License-Identifier: MIT */
/* helpers/tls_serve.h - --serve: holds the key, and forks a process for each requested connection.
 */
#pragma once

#include "helpers/tls_options.h"

/* Descriptor 0 is the socket for requests (SOCK_SEQPACKET), listening or connected. If descriptor 3
 * is open, it gets "ready". Returns an exit status. */
int tls_serve(const struct tls_options *o);
