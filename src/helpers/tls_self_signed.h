/* SPDX-License-Identifier: MIT */
/* helpers/tls_self_signed.h - a self-signed certificate made in memory, for developers. */
#pragma once

#include <openssl/ssl.h>

/* Makes and uses a certificate for this name, or for the system's host name if it is NULL. Reports
 * failure with tls_complain(). */
void tls_self_signed_use(SSL_CTX *context, const char *hostname);
