/* SPDX-License-Identifier: MIT */
/* helpers/tls_complain.h - what is wrong with certificates and keys: lines of the log, or findings
 * of --check on standard output.
 */
#pragma once

#include <stdbool.h>

enum tls_gravity { TLS_WARNING, TLS_ERROR };

/* From now on findings are printed. */
void tls_complain_on_stdout(void);

/* A line, formatted by text_format(). */
__attribute__((format(printf, 2, 3))) void tls_complain(enum tls_gravity gravity,
                                                        const char *format, ...);

/* How many errors there were. */
unsigned tls_complain_errors(void);

/* Why the library failed last, and forgets it. */
const char *tls_complain_reason(void);
