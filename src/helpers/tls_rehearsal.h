/* SPDX-License-Identifier: MIT */
/* helpers/tls_rehearsal.h - performs a handshake with ourselves, in memory, before the first fork.
 */
#pragma once

#include <openssl/ssl.h>

/* Makes OpenSSL load what it needs for its first handshake as a client, so that forked processes
 * need not do it again. */
void tls_rehearse(SSL_CTX *client);
