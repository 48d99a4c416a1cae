/* SPDX-License-Identifier: MIT */
/* helpers/tls_complain.h - reports problems with certificates and keys: in the log, or for --check
 * on standard output.
 */
#pragma once

#include <stdbool.h>

enum tls_gravity { TLS_WARNING, TLS_ERROR };

/* From now on problems are printed on standard output. */
void tls_complain_on_stdout(void);

/* Reports a problem, formatted by text_format(). */
__attribute__((format(printf, 2, 3))) void tls_complain(enum tls_gravity gravity,
                                                        const char *format, ...);

/* The number of errors so far. */
unsigned tls_complain_errors(void);

/* Returns and clears OpenSSL's last error. */
const char *tls_complain_reason(void);
