/* SPDX-License-Identifier: MIT */
/* helpers/tls_context.h - certificates, keys and rules become what OpenSSL makes connections from.
 *
 * What is wrong is said by tls_complain(): each fault by itself, with the file and what to do.
 */
#pragma once

#include <openssl/ssl.h>

#include "helpers/tls_options.h"

/* Starts the library. The system's policy, or $OPENSSL_CONF, is read if there is one. */
void tls_context_start(void);

/* NULL: not every certificate and key can be used. */
SSL_CTX *tls_context_new(const struct tls_options *o);
