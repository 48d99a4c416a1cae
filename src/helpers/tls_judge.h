/* SPDX-License-Identifier: MIT */
/* helpers/tls_judge.h - warnings about a certificate and its key: problems that do not prevent TLS.
 */
#pragma once

#include <openssl/x509.h>

#include "helpers/tls_options.h"

/* `path` is the file of the certificate, `n_more` how many others are in it. */
void tls_judge_certificate(X509 *certificate, int n_more, const char *path,
                           const struct tls_options *o);

/* Reports a key that everyone can read: an error for --check, otherwise a warning. */
void tls_judge_key_file(const char *path, const struct tls_options *o);
