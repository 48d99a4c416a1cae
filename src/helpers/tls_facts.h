/* SPDX-License-Identifier: MIT */
/* helpers/tls_facts.h - the results of a handshake. */
#pragma once

#include <openssl/ssl.h>

#include "helpers/tls_answer.h"

enum { TLS_FINGERPRINT_MAX = 2 * EVP_MAX_MD_SIZE + 1 };

/* The SHA-256 of a certificate, in lower case hexadecimal; "" if there is none. */
void tls_facts_fingerprint(const X509 *certificate, char ret[static TLS_FINGERPRINT_MAX]);

/* Adds the variables of a connection, with the names of Apache's mod_ssl. */
void tls_facts_add(struct tls_answer *a, SSL *ssl);
