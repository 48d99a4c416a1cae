/* SPDX-License-Identifier: MIT */
/* helpers/tls_rehearsal.h - performs a handshake with ourselves before the first fork. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

/* Makes OpenSSL load what it needs for its first handshake as a server or as a client, so that
 * forked processes need not do it again. A handshake that fails leaves nothing but that undone. */
void tls_rehearse(SSL_CTX *context, bool is_server);
