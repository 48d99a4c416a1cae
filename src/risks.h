/* SPDX-License-Identifier: MIT */
/* risks.h - what is allowed in a configuration, and yet risky: the warnings of --check. */
#pragma once

#include "config/config.h"

/* Warns of each thing: `where` is the option, `what` says what may happen and what to do. With
 * `has_network` names of upstreams are looked up too, which may take a while. */
void risks_warn(const struct config *c, bool has_network, config_complaint *warn);
