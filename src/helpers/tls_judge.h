/* SPDX-License-Identifier: MIT */
/* helpers/tls_judge.h - what clients and neighbours will think of a certificate and its key: things
 * that do not keep TLS from working.
 */
#pragma once

#include <openssl/x509.h>

#include "helpers/tls_options.h"

/* `path` is the file of the certificate, `n_more` how many others are in it. */
void tls_judge_certificate(X509 *certificate, int n_more, const char *path,
                           const struct tls_options *o);

/* An error for --check, else a warning. */
void tls_judge_key_file(const char *path, const struct tls_options *o);
