/* SPDX-License-Identifier: MIT */
/* helpers/tls_rehearsal.h - a handshake with ourselves, in memory. */
#pragma once

#include <openssl/ssl.h>

/* What the library looks up at its first handshake as a client, algorithms above all, is there
 * afterwards, for all processes that are forked. */
void tls_rehearse(SSL_CTX *client);
