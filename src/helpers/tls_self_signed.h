/* SPDX-License-Identifier: MIT */
/* helpers/tls_self_signed.h - a certificate that nobody vouches for, made in memory: for
 * developers. */
#pragma once

#include <openssl/ssl.h>

/* For this name, or the system's if it is NULL. Complains if it cannot be made. */
void tls_self_signed_use(SSL_CTX *context, const char *hostname);
