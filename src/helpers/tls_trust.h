/* SPDX-License-Identifier: MIT */
/* helpers/tls_trust.h - whether the certificate of a server is what it has to be.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

enum {
        TLS_PINS_MAX = 8,
        TLS_PIN_DIGITS = 64, /* SHA-256, in hexadecimal */
        TLS_TRUST_REASON_MAX = 512,
};

/* What somebody who connects to a server wants of it. */
struct tls_trust {
        const char *name; /* the certificate has to be for it; NULL: for anything */
        bool is_verified; /* by the authorities; and then by the name, if there is one */
        const char *pins[TLS_PINS_MAX]; /* or it is one of these certificates: their SHA-256 */
        size_t n_pins;
};

/* Takes "ca", "no" or "sha256:HEX", of which the last can be there several times. */
bool tls_trust_add(struct tls_trust *t, const char *word);

/* Before the handshake: whom we want to speak to. Returns false if memory is out. */
bool tls_trust_prepare(const struct tls_trust *t, SSL *ssl);

/* After it: NULL if the server is trusted, or why it is not. */
const char *tls_trust_judge(const struct tls_trust *t, SSL *ssl,
                            char room[static TLS_TRUST_REASON_MAX]);
