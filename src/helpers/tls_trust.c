/* SPDX-License-Identifier: MIT */
/* helpers/tls_trust.c - whether the certificate of a server is what it has to be.
 *
 * RFC 7817, and RFC 6125: the name is the one that was configured, never one that a server says of
 * itself.
 */
#include "helpers/tls_trust.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/ascii.h"
#include "base/text.h"
#include "helpers/tls_facts.h"

static const char pin_prefix[] = "sha256:";

/* Digits, with or without colons between them. */
static bool is_pin(const char *s) {
        size_t n = 0;

        for (; *s; s++)
                if (strchr("0123456789abcdefABCDEF", *s))
                        n++;
                else if (*s != ':')
                        return false;
        return n == TLS_PIN_DIGITS;
}

bool tls_trust_add(struct tls_trust *t, const char *word) {
        size_t n = sizeof(pin_prefix) - 1;

        if (strcmp(word, "ca") == 0 || strcmp(word, "no") == 0) {
                t->is_verified = *word == 'c';
                return t->n_pins == 0;
        }
        if (strncmp(word, pin_prefix, n) != 0 || !is_pin(word + n) || t->n_pins == TLS_PINS_MAX)
                return false;
        t->pins[t->n_pins++] = word + n;
        return !t->is_verified;
}

static bool is_address(const char *name) {
        unsigned char address[sizeof(struct in6_addr)];

        return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* With verification the library ends the handshake, so that nothing is said to anybody else. */
bool tls_trust_prepare(const struct tls_trust *t, SSL *ssl) {
        X509_VERIFY_PARAM *wanted = SSL_get0_param(ssl);

        if (t->is_verified)
                SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
        if (!t->name)
                return true;
        if (is_address(t->name))
                return X509_VERIFY_PARAM_set1_ip_asc(wanted, t->name) == 1;
        X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        return X509_VERIFY_PARAM_set1_host(wanted, t->name, 0) == 1 &&
               SSL_set_tlsext_host_name(ssl, t->name) == 1;
}

static bool is_pinned(const char *pin, const char *digits) {
        for (; *pin; pin++)
                if (*pin != ':' && ascii_lower(*pin) != *digits++)
                        return false;
        return true;
}

const char *tls_trust_judge(const struct tls_trust *t, SSL *ssl,
                            char room[static TLS_TRUST_REASON_MAX]) {
        X509 *certificate = SSL_get0_peer_certificate(ssl);
        long verdict = SSL_get_verify_result(ssl);
        char digits[TLS_FINGERPRINT_MAX];

        if (t->is_verified && verdict != X509_V_OK) {
                text_format(room, TLS_TRUST_REASON_MAX,
                            "the server's certificate cannot be verified: %s",
                            X509_verify_cert_error_string(verdict));
                return room;
        }
        if (!certificate)
                return t->is_verified || t->n_pins > 0 ? "the server has no certificate" : NULL;
        if (t->n_pins == 0)
                return NULL;
        tls_facts_fingerprint(certificate, digits);
        for (size_t i = 0; i < t->n_pins; i++)
                if (is_pinned(t->pins[i], digits))
                        return NULL;
        text_format(room, TLS_TRUST_REASON_MAX,
                    "the server's certificate is not a pinned one: sha256:%s", digits);
        return room;
}
