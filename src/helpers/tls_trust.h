/* SPDX-License-Identifier: MIT */
/* helpers/tls_trust.h - verifies the certificate of a server.
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

/* How to verify a server. */
struct tls_trust {
        const char *name; /* that the certificate must be for; NULL: any name */
        bool is_verified; /* by the authorities; and then by the name, if there is one */
        const char *pins[TLS_PINS_MAX]; /* or it is one of these certificates: their SHA-256 */
        size_t n_pins;
};

/* Parses "ca", "no" or "sha256:HEX"; the last can be given several times. Returns false if it is
 * invalid. */
bool tls_trust_add(struct tls_trust *t, const char *word);

/* Before the handshake: sets the expected name. Returns false if memory runs out. */
bool tls_trust_prepare(const struct tls_trust *t, SSL *ssl);

/* After the handshake: returns NULL if the server is trusted, otherwise the reason. */
const char *tls_trust_judge(const struct tls_trust *t, SSL *ssl,
                            char room[static TLS_TRUST_REASON_MAX]);
