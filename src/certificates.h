/* SPDX-License-Identifier: MIT */
/* certificates.h - certificate and key, as smtpd-tls(8) sees them: for --check. */
#pragma once

#include "config/config.h"

/* Has the program look at them, if the configuration has any that are used. What is wrong is said
 * by `complain`, what may be unwise by `warn_of`. Returns 0 or an exit status. */
int certificates_check(const struct config *c, config_complaint *complain,
                       config_complaint *warn_of);
