/* SPDX-License-Identifier: MIT */
/* upstreams.h - tests the TLS of upstreams, for --check=network. */
#pragma once

#include "config/config.h"

/* Connects to each upstream, and tries TLS as configured by upstream-tls=. Prints the results as
 * comments, and warns about failures. Does not log in. */
void upstreams_look(const struct config *c, config_complaint *warn);
