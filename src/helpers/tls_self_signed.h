/* helpers/tls_self_signed.h - a certificate that nobody vouches for, made in memory: for
 * developers. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

/* For this name, or the system's if it is NULL. Complains and returns false if it cannot be made.
 */
bool tls_self_signed_use(SSL_CTX *context, const char *hostname);
