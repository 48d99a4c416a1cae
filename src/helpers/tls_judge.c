/* SPDX-License-Identifier: MIT */
/* helpers/tls_judge.c - what clients and neighbours will think of a certificate and its key.
 *
 * An expired certificate is a warning: most mail servers deliver all the same, and would deliver
 * nothing to a door that stays closed because of it.
 */
#include "helpers/tls_judge.h"

#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "helpers/tls_complain.h"

enum { DATE_ROOM = 64 };

static const char *format_date(const ASN1_TIME *date, char ret[static DATE_ROOM]) {
        BIO *memory = BIO_new(BIO_s_mem());
        int n = memory && ASN1_TIME_print(memory, date) == 1 ? BIO_read(memory, ret, DATE_ROOM - 1)
                                                             : 0;

        ret[n > 0 ? n : 0] = '\0';
        BIO_free(memory);
        return ret;
}

static void judge_dates(const X509 *certificate, const char *path) {
        const ASN1_TIME *begin = X509_get0_notBefore(certificate),
                        *end = X509_get0_notAfter(certificate);
        char date[DATE_ROOM];

        if (X509_cmp_current_time(begin) > 0)
                tls_complain(TLS_WARNING,
                             "the certificate %s is not valid before %s: is the clock right?", path,
                             format_date(begin, date));
        if (X509_cmp_current_time(end) < 0)
                tls_complain(TLS_WARNING,
                             "the certificate %s expired on %s: clients that verify it reject it; "
                             "renew it",
                             path, format_date(end, date));
}

/* A name of DNS, or an address in brackets. */
static bool is_for(X509 *certificate, const char *hostname) {
        char address[64];
        size_t n = strlen(hostname), n_tag = strncmp(hostname, "[IPv6:", 6) == 0 ? 6 : 1;

        if (*hostname != '[')
                return X509_check_host(certificate, hostname, n, 0, NULL) == 1;
        text_format(address, sizeof(address), "%.*s", (int) strcspn(hostname + n_tag, "]"),
                    hostname + n_tag);
        return X509_check_ip_asc(certificate, address, 0) == 1;
}

void tls_judge_certificate(X509 *certificate, int n_more, const char *path,
                           const struct tls_options *o) {
        bool is_self_signed = X509_check_issued(certificate, certificate) == X509_V_OK;

        judge_dates(certificate, path);
        if (is_self_signed)
                tls_complain(TLS_WARNING,
                             "the certificate %s is self-signed: clients that verify it reject it",
                             path);
        else if (n_more == 0)
                tls_complain(TLS_WARNING,
                             "%s has only our own certificate: clients that verify it also need "
                             "the intermediate ones (with Let's Encrypt: fullchain.pem)",
                             path);
        if (o->hostname && !is_for(certificate, o->hostname))
                tls_complain(TLS_WARNING,
                             "the certificate %s is not for %s: clients that verify it reject it; "
                             "get one for that name, or change hostname",
                             path, o->hostname);
}

void tls_judge_key_file(const char *path, const struct tls_options *o) {
        struct stat st;

        if (stat(path, &st) == 0 && (st.st_mode & S_IRWXO) != 0)
                tls_complain(o->role == TLS_CHECK ? TLS_ERROR : TLS_WARNING,
                             "everyone on this host can read the key %s: chmod o= %s, and replace "
                             "it unless all of them are trusted",
                             path, path);
}
