/* SPDX-License-Identifier: MIT */
/* helpers/tls_check.h - --check: prints what is wrong with certificates and keys on standard
 * output. */
#pragma once

#include "helpers/tls_options.h"

/* Reads them as the user in --user, if given. Returns EX_OK, or EX_CONFIG if they cannot be used.
 */
int tls_check(const struct tls_options *o);
