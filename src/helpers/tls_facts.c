/* SPDX-License-Identifier: MIT */
/* helpers/tls_facts.c - what a handshake has brought to light. */
#include "helpers/tls_facts.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>

#include "base/text.h"

/* What the variables about the peer's certificate are called. */
struct variables {
        const char *verify, *subject, *fingerprint;
};

static const struct variables of_client = { "SSL_CLIENT_VERIFY", "SSL_CLIENT_S_DN",
                                            "SSL_CLIENT_FINGERPRINT" };
static const struct variables of_server = { "SSL_SERVER_VERIFY", "SSL_SERVER_S_DN",
                                            "SSL_SERVER_FINGERPRINT" };

/* As openssl-x509(1) says it with -nameopt RFC2253: nothing in it can be taken for another part. */
static void add_subject(struct tls_answer *a, const char *variable, const X509 *certificate) {
        BIO *memory = BIO_new(BIO_s_mem());
        char text[TLS_VALUE_MAX + 1];
        int n = -1;

        if (memory &&
            X509_NAME_print_ex(memory, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
                n = BIO_read(memory, text, TLS_VALUE_MAX);
        text[n > 0 ? n : 0] = '\0';
        tls_answer_add(a, variable, text);
        BIO_free(memory);
}

void tls_facts_fingerprint(const X509 *certificate, char ret[static TLS_FINGERPRINT_MAX]) {
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned n = 0;

        *ret = '\0';
        if (X509_digest(certificate, EVP_sha256(), digest, &n) != 1)
                return;
        for (unsigned i = 0; i < n; i++)
                text_format(ret + 2 * (size_t) i, 3, "%02x", (unsigned) digest[i]);
}

/* Whom it is for: the names of DNS and the addresses, with blanks between them. */
static void add_names(struct tls_answer *a, X509 *certificate) {
        GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
        char text[TLS_VALUE_MAX] = "";
        size_t n = 0;

        for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
                const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

                if (name->type == GEN_DNS)
                        n += text_format(text + n, sizeof(text) - n, "%s%.*s", n > 0 ? " " : "",
                                         ASN1_STRING_length(name->d.dNSName),
                                         (const char *) ASN1_STRING_get0_data(name->d.dNSName));
        }
        tls_answer_add(a, "SSL_SERVER_NAMES", text);
        GENERAL_NAMES_free(names);
}

/* The peer's certificate: of a client, or of a server. */
static void add_certificate(struct tls_answer *a, SSL *ssl, const struct variables *names) {
        X509 *certificate = SSL_get0_peer_certificate(ssl);
        long verdict = SSL_get_verify_result(ssl);
        char text[256];

        if (!certificate) {
                tls_answer_add(a, names->verify, "NONE");
                return;
        }
        text_format(text, sizeof(text), "FAILED:%s", X509_verify_cert_error_string(verdict));
        tls_answer_add(a, names->verify, verdict == X509_V_OK ? "SUCCESS" : text);
        add_subject(a, names->subject, certificate);
        tls_facts_fingerprint(certificate, text);
        tls_answer_add(a, names->fingerprint, text);
        if (!SSL_is_server(ssl))
                add_names(a, certificate);
}

void tls_facts_add(struct tls_answer *a, SSL *ssl) {
        tls_answer_add(a, "SSL_PROTOCOL", SSL_get_version(ssl));
        tls_answer_add(a, "SSL_CIPHER", SSL_get_cipher_name(ssl));
        tls_answer_add(a, "SSL_TLS_SNI", SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
        add_certificate(a, ssl, SSL_is_server(ssl) ? &of_client : &of_server);
}
