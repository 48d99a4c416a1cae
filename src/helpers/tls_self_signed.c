/* SPDX-License-Identifier: MIT */
/* helpers/tls_self_signed.c - a certificate that nobody vouches for, made in memory. */
#include "helpers/tls_self_signed.h"

#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "helpers/tls_complain.h"

enum {
        DAY = 24 * 3600,
        NAME_MAX_OCTETS = 253, /* of DNS */
};

/* Of a DNS name, or an address literal as a mail server's name may be. */
static bool add_names(X509 *certificate, const char *name) {
        size_t n = strlen(name);
        char text[NAME_MAX_OCTETS + 8];
        X509_EXTENSION *extension;
        bool is_added;

        if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]") !=
                    n ||
            n > NAME_MAX_OCTETS)
                return false; /* it would be a sentence of OpenSSL's language */
        if (n > 2 && *name == '[' && name[n - 1] == ']') {
                size_t n_tag = strncmp(name + 1, "IPv6:", 5) == 0 ? 5 : 0;

                text_format(text, sizeof(text), "IP:%.*s", (int) (n - n_tag) - 2, name + 1 + n_tag);
        } else
                text_format(text, sizeof(text), "DNS:%s", name);
        extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
        is_added = extension && X509_add_ext(certificate, extension, -1) == 1;
        X509_EXTENSION_free(extension);
        return is_added;
}

static bool fill(X509 *certificate, EVP_PKEY *key, const char *hostname) {
        X509_NAME *name = X509_get_subject_name(certificate);
        uint64_t serial = 0;

        return RAND_bytes((unsigned char *) &serial, sizeof(serial)) == 1 &&
               X509_set_version(certificate, X509_VERSION_3) == 1 &&
               ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1 &&
               X509_gmtime_adj(X509_getm_notBefore(certificate), -DAY) &&
               X509_gmtime_adj(X509_getm_notAfter(certificate), 365L * DAY) &&
               X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC,
                                          (const unsigned char *) "smtpd, self-signed", -1, -1,
                                          0) == 1 &&
               X509_set_issuer_name(certificate, name) == 1 && add_names(certificate, hostname) &&
               X509_set_pubkey(certificate, key) == 1 &&
               X509_sign(certificate, key, EVP_sha256()) > 0;
}

void tls_self_signed_use(SSL_CTX *context, const char *hostname) {
        char own[NAME_MAX_OCTETS + 1] = "localhost";
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *certificate = X509_new();
        bool is_used;

        if (!hostname && gethostname(own, sizeof(own) - 1) < 0)
                text_format(own, sizeof(own), "localhost");
        is_used = key && certificate && fill(certificate, key, hostname ? hostname : own) &&
                  SSL_CTX_use_cert_and_key(context, certificate, key, NULL, 1) == 1;
        if (!is_used)
                tls_complain(TLS_ERROR, "cannot make a certificate for %s: %s",
                             hostname ? hostname : own, tls_complain_reason());
        X509_free(certificate);
        EVP_PKEY_free(key);
}
