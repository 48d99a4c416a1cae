/* SPDX-License-Identifier: MIT */
/* helpers/tls_options.h - the command line of smtpd-tls. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "helpers/tls_trust.h"

enum tls_role { TLS_ONE_CONNECTION, TLS_SERVE, TLS_CHECK };

enum {
        TLS_CERTIFICATES_MAX = 4,
        TLS_SECONDS_MAX = 60, /* for the handshake */
};

struct tls_options {
        enum tls_role role;
        bool is_connecting;     /* we are the client, and have neither certificate nor key */
        struct tls_trust trust; /* in the server, then */
        const char *ca;         /* whose certificates are trusted, then: a file or a directory */
        const char *certificates[TLS_CERTIFICATES_MAX];
        /* in the same order; those of the certificates if none is named */
        const char *keys[TLS_CERTIFICATES_MAX];
        size_t n_certificates, n_keys;
        int minimum; /* TLS1_2_VERSION or TLS1_3_VERSION */
        bool is_client_asked;
        const char *client_ca; /* or NULL */
        const char *hostname;  /* or NULL */
        unsigned timeout;      /* seconds */
        const char *user;      /* or NULL */
        char **program;        /* that is started, with its arguments; or NULL */
};

/* The value of --certificate that is not a file. */
#define TLS_SELF_SIGNED "self-signed"

bool tls_options_is_self_signed(const struct tls_options *o);

/* Returns -1; or the exit status after --help or --version, or after printing an error. */
int tls_options_read(struct tls_options *ret, int argc, char **argv);
