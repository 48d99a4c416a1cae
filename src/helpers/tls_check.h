/* SPDX-License-Identifier: MIT */
/* helpers/tls_check.h - what is wrong with the certificates and keys, said on standard output. */
#pragma once

#include "helpers/tls_options.h"

/* Reads them as --user if that is given. Returns an exit status: EX_OK, or EX_CONFIG if they cannot
 * be used. */
int tls_check(const struct tls_options *o);
