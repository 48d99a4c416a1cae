/* helpers/tls_facts.c - what a handshake has brought to light. */
#include "helpers/tls_facts.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <string.h>

#include "base/text.h"

/* As openssl-x509(1) says it with -nameopt RFC2253: nothing in it can be taken for another part. */
static void add_subject(struct tls_answer *a, const X509 *certificate) {
        BIO *memory = BIO_new(BIO_s_mem());
        char text[TLS_VALUE_MAX + 1];
        int n = -1;

        if (memory &&
            X509_NAME_print_ex(memory, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
                n = BIO_read(memory, text, TLS_VALUE_MAX);
        text[n > 0 ? n : 0] = '\0';
        tls_answer_add(a, "SSL_CLIENT_S_DN", text);
        BIO_free(memory);
}

static void add_fingerprint(struct tls_answer *a, const X509 *certificate) {
        unsigned char digest[EVP_MAX_MD_SIZE];
        char text[2 * EVP_MAX_MD_SIZE + 1] = "";
        unsigned n = 0;

        if (X509_digest(certificate, EVP_sha256(), digest, &n) != 1)
                return;
        for (unsigned i = 0; i < n; i++)
                text_format(text + 2 * (size_t) i, 3, "%02x", (unsigned) digest[i]);
        tls_answer_add(a, "SSL_CLIENT_FINGERPRINT", text);
}

static void add_client(struct tls_answer *a, const SSL *ssl) {
        X509 *certificate = SSL_get0_peer_certificate(ssl);
        long verdict = SSL_get_verify_result(ssl);
        char text[256];

        if (!certificate) {
                tls_answer_add(a, "SSL_CLIENT_VERIFY", "NONE");
                return;
        }
        text_format(text, sizeof(text), "FAILED:%s", X509_verify_cert_error_string(verdict));
        tls_answer_add(a, "SSL_CLIENT_VERIFY", verdict == X509_V_OK ? "SUCCESS" : text);
        add_subject(a, certificate);
        add_fingerprint(a, certificate);
}

void tls_facts_add(struct tls_answer *a, const SSL *ssl) {
        tls_answer_add(a, "SSL_PROTOCOL", SSL_get_version(ssl));
        tls_answer_add(a, "SSL_CIPHER", SSL_get_cipher_name(ssl));
        tls_answer_add(a, "SSL_TLS_SNI", SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
        add_client(a, ssl);
}
