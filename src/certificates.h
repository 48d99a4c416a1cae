/* SPDX-License-Identifier: MIT */
/* certificates.h - checks certificates and keys with smtpd-tls(8), for --check. */
#pragma once

#include "config/config.h"

/* Runs smtpd-tls --check if the configuration uses certificates. Errors are reported with
 * `complain`, warnings with `warn_of`. Returns 0 or an exit status. */
int certificates_check(const struct config *c, config_complaint *complain,
                       config_complaint *warn_of);
