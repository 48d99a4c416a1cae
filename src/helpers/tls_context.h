/* SPDX-License-Identifier: MIT */
/* helpers/tls_context.h - makes the SSL_CTX from certificates, keys and options.
 *
 * Each problem is reported with tls_complain(), with the file and what to do.
 */
#pragma once

#include <openssl/ssl.h>

#include "helpers/tls_options.h"

/* Starts OpenSSL, with the system's policy or $OPENSSL_CONF if there is one. */
void tls_context_start(void);

/* Returns NULL if a certificate or key cannot be used. */
SSL_CTX *tls_context_new(const struct tls_options *o);
