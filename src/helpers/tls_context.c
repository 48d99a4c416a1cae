/* SPDX-License-Identifier: MIT */
/* helpers/tls_context.c - certificates, keys and rules become what OpenSSL makes connections from.
 *
 * Which ciphers and groups are good the library and the system's policy know; we only ask for a
 * version that is no older, and leave out what SMTP has no use for: renegotiation, compression,
 * early data, sessions that are kept.
 */
#include "helpers/tls_context.h"

#include <errno.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "helpers/tls_complain.h"
#include "helpers/tls_judge.h"
#include "helpers/tls_self_signed.h"

enum { READ_AHEAD = 64 * 1024 /* octets: some records at a time */ };

/* Without a file it costs less not to look for what is in it. */
void tls_context_start(void) {
        const char *named = getenv("OPENSSL_CONF");
        char *path = named ? NULL : CONF_get1_default_config_file();
        bool is_there = access(named ? named : path ? path : "", R_OK) == 0;

        /* what compares dates would read the time zone when no file can be opened any more */
        tzset();
        OPENSSL_free(path);
        OPENSSL_init_ssl(is_there ? OPENSSL_INIT_LOAD_CONFIG : OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
        ERR_clear_error();
}

/* --- certificates and keys -------------------------------------------------------------------- */

/* Nobody is there to be asked for a passphrase. */
static int no_passphrase(char *buffer, int size, int is_writing, void *unused) {
        (void) buffer;
        (void) size;
        (void) is_writing;
        (void) unused;
        return -1;
}

/* Whom the system does not let read the file: that is us. */
static void complain_of_file(const char *what, const char *path) {
        const struct passwd *us = errno == EACCES ? getpwuid(geteuid()) : NULL;

        if (us)
                tls_complain(
                        TLS_ERROR,
                        "cannot read the %s %s: user %s is not permitted to; let that user read "
                        "it, or pass it as a credential (LoadCredential= in systemd.exec(5))",
                        what, path, us->pw_name);
        else
                tls_complain(TLS_ERROR, "cannot read the %s %s: %s", what, path, strerror(errno));
}

static BIO *open_file(const char *what, const char *path) {
        BIO *file = BIO_new_file(path, "re");

        if (!file) {
                complain_of_file(what, path);
                ERR_clear_error();
        }
        return file;
}

/* To OpenSSL the end of the file is an error, too. */
static bool is_at_end(void) {
        unsigned long error = ERR_peek_last_error();

        return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

/* After n certificates there was none. False: said why. */
static bool are_all(int n, const char *path) {
        if (n > 0 && is_at_end())
                return true;
        if (n == 0)
                tls_complain(
                        TLS_ERROR,
                        "no certificate in %s: it must be in PEM format, our own certificate first",
                        path);
        else
                tls_complain(TLS_ERROR,
                             "cannot read the certificate %s: number %d in it is damaged or "
                             "truncated: replace the file",
                             path, n + 1);
        return false;
}

/* The certificates of the file in their order: the first is the door's own. NULL: said why. */
static STACK_OF(X509) * read_certificates(const char *path) {
        STACK_OF(X509) *all = sk_X509_new_null();
        BIO *file = open_file("certificate", path);
        bool is_good = false;
        X509 *one;

        if (file) {
                while ((one = PEM_read_bio_X509(file, NULL, no_passphrase, NULL)))
                        sk_X509_push(all, one);
                is_good = are_all(sk_X509_num(all), path);
        }
        BIO_free(file);
        ERR_clear_error();
        if (is_good)
                return all;
        sk_X509_pop_free(all, X509_free);
        return NULL;
}

/* `is_same`: it is the certificate's file. */
static EVP_PKEY *read_key(const char *path, bool is_same) {
        BIO *file = open_file("key", path);
        EVP_PKEY *key = file ? PEM_read_bio_PrivateKey(file, NULL, no_passphrase, NULL) : NULL;

        if (file && !key)
                tls_complain(
                        TLS_ERROR,
                        "no readable key in %s: it must be in PEM format, without a passphrase%s",
                        path,
                        is_same ? "; if it is in a file of its own, name that (tls-key)" : "");
        BIO_free(file);
        ERR_clear_error();
        return key;
}

/* Of the pairs that there are already, the n-th; NULL: there are no more of them. */
static X509 *find_certificate(SSL_CTX *context, unsigned n) {
        long is_there = SSL_CTX_set_current_cert(context, SSL_CERT_SET_FIRST);

        while (is_there && n-- > 0)
                is_there = SSL_CTX_set_current_cert(context, SSL_CERT_SET_NEXT);
        return is_there ? SSL_CTX_get0_certificate(context) : NULL;
}

/* Whether no pair of this kind is there yet: it would be replaced. */
static bool is_new_kind(SSL_CTX *context, const EVP_PKEY *key, const char *path) {
        for (unsigned n = 0; find_certificate(context, n); n++)
                if (EVP_PKEY_get_base_id(X509_get0_pubkey(find_certificate(context, n))) ==
                    EVP_PKEY_get_base_id(key)) {
                        tls_complain(TLS_ERROR,
                                     "the certificate %s is the second one for the same kind of "
                                     "key: remove one of them",
                                     path);
                        return false;
                }
        return true;
}

/* Takes the first certificate from the others. */
static void use_pair(SSL_CTX *context, STACK_OF(X509) * certificates, EVP_PKEY *key,
                     const char *path, const char *key_path) {
        X509 *own = sk_X509_shift(certificates);

        if (X509_check_private_key(own, key) != 1)
                tls_complain(TLS_ERROR,
                             "the key in %s does not match the first certificate in %s: name the "
                             "file of the matching key",
                             key_path, path);
        else if (is_new_kind(context, key, path) &&
                 SSL_CTX_use_cert_and_key(context, own, key, certificates, 1) != 1)
                tls_complain(TLS_ERROR, "cannot use the certificate %s: %s", path,
                             tls_complain_reason());
        ERR_clear_error();
        X509_free(own);
}

static void load_pair(SSL_CTX *context, const char *path, const char *key_path,
                      const struct tls_options *o) {
        bool is_same = strcmp(key_path, path) == 0;
        STACK_OF(X509) *certificates = read_certificates(path);
        EVP_PKEY *key = read_key(key_path, is_same);

        if (o->role != TLS_ONE_CONNECTION) {
                if (certificates)
                        tls_judge_certificate(sk_X509_value(certificates, 0),
                                              sk_X509_num(certificates) - 1, path, o);
                if (key || !is_same)
                        tls_judge_key_file(key_path, o);
        }
        if (certificates && key)
                use_pair(context, certificates, key, path, key_path);
        sk_X509_pop_free(certificates, X509_free);
        EVP_PKEY_free(key);
}

static void load_self_signed(SSL_CTX *context, const struct tls_options *o) {
        if (o->role == TLS_CHECK)
                tls_complain(TLS_WARNING, "the certificate is self-signed, and new at each start: "
                                          "it is for tests only");
        tls_self_signed_use(context, o->hostname);
}

static void load_pairs(SSL_CTX *context, const struct tls_options *o) {
        const char *const *keys = o->n_keys > 0 ? o->keys : o->certificates;

        if (tls_options_is_self_signed(o))
                load_self_signed(context, o);
        else
                for (size_t i = 0; i < o->n_certificates; i++)
                        load_pair(context, o->certificates[i], keys[i], o);
}

/* --- rules ------------------------------------------------------------------------------------ */

/* "smtp", or the client says nothing of it. Whoever asks for another protocol was led here by
 * somebody who wants to have our answer taken for one of that. */
static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_n,
                           const unsigned char *in, unsigned n, void *unused) {
        static const unsigned char ours[] = { 4, 's', 'm', 't', 'p' };
        unsigned char *chosen;

        (void) ssl;
        (void) unused;
        if (SSL_select_next_proto(&chosen, ret_n, ours, sizeof(ours), in, n) !=
            OPENSSL_NPN_NEGOTIATED)
                return SSL_TLSEXT_ERR_ALERT_FATAL;
        *ret = chosen;
        return SSL_TLSEXT_ERR_OK;
}

/* Whoever it is: the reason is told, and decides nothing here. */
static int take_anybody(int is_good, X509_STORE_CTX *store) {
        (void) is_good;
        (void) store;
        return 1;
}

static void ask_clients(SSL_CTX *context, const char *ca) {
        STACK_OF(X509_NAME) *names = ca ? SSL_load_client_CA_file(ca) : NULL;

        if (ca && (!names || SSL_CTX_load_verify_file(context, ca) != 1))
                tls_complain(TLS_ERROR,
                             "cannot read the issuers of clients' certificates in %s: %s", ca,
                             tls_complain_reason());
        SSL_CTX_set_client_CA_list(context, names);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, take_anybody);
}

/* For both roles. */
static void set_common_rules(SSL_CTX *context, const struct tls_options *o) {
        if (SSL_CTX_get_min_proto_version(context) < o->minimum)
                SSL_CTX_set_min_proto_version(context, o->minimum);
        SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                             SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
        SSL_CTX_clear_options(context, SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                          SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                          SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_read_ahead(context, 1);
        SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD);
}

static void set_rules(SSL_CTX *context, const struct tls_options *o) {
        static const unsigned char name[] = "smtpd"; /* whose sessions they are */

        set_common_rules(context, o);
        SSL_CTX_set_num_tickets(context, 0);
        SSL_CTX_set_session_id_context(context, name, sizeof(name));
        SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
        if (o->is_client_asked)
                ask_clients(context, o->client_ca);
}

/* Those of a directory are looked up when they are needed: its files have the hashes of their names
 * (openssl-rehash(1)). */
static void load_authorities(SSL_CTX *context, const char *ca) {
        struct stat st;
        int is_loaded;

        if (stat(ca, &st) < 0) {
                tls_complain(TLS_ERROR, "cannot read the authorities %s: %s", ca, strerror(errno));
                return;
        }
        is_loaded = S_ISDIR(st.st_mode) ? SSL_CTX_load_verify_dir(context, ca)
                                        : SSL_CTX_load_verify_file(context, ca);
        if (is_loaded != 1)
                tls_complain(TLS_ERROR,
                             "cannot read the authorities %s: %s: it must be a file in PEM format, "
                             "or a directory like /etc/ssl/certs",
                             ca, tls_complain_reason());
}

/* Whether the server is trusted is judged when all is known of it. */
static void set_rules_of_client(SSL_CTX *context, const struct tls_options *o) {
        set_common_rules(context, o);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, take_anybody);
        if (o->ca)
                load_authorities(context, o->ca);
}

SSL_CTX *tls_context_new(const struct tls_options *o) {
        SSL_CTX *context =
                SSL_CTX_new(o->is_connecting ? TLS_client_method() : TLS_server_method());

        if (!context) {
                tls_complain(TLS_ERROR, "cannot start OpenSSL: %s", tls_complain_reason());
                return NULL;
        }
        if (o->is_connecting)
                set_rules_of_client(context, o);
        else {
                set_rules(context, o);
                load_pairs(context, o);
        }
        if (tls_complain_errors() == 0)
                return context;
        SSL_CTX_free(context);
        return NULL;
}
