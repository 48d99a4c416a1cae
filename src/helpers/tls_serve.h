/* SPDX-License-Identifier: MIT */
/* helpers/tls_serve.h - a server: it holds the key, and forks for each connection that it is asked
 * to speak TLS on.
 */
#pragma once

#include "helpers/tls_options.h"

/* Descriptor 0 is where it is asked (SOCK_SEQPACKET), listening or connected; on 3, if it is open,
 * it says "ready". Returns an exit status. */
int tls_serve(const struct tls_options *o);
