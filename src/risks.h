/* SPDX-License-Identifier: MIT */
/* risks.h - the warnings of --check about risky settings. */
#pragma once

#include "config/config.h"

/* Reports each warning: `where` is the option, `what` says what may happen and what to do. With
 * `has_network` the names of upstreams are looked up too, which may take a while. */
void risks_warn(const struct config *c, bool has_network, config_complaint *warn);
