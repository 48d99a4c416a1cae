/* SPDX-License-Identifier: MIT */
/* upstreams.h - what upstreams show of their TLS: for --check=network. */
#pragma once

#include "config/config.h"

/* Connects to each upstream, and tries TLS as upstream-tls= has it. Prints what it sees as
 * comments, and warns of what would keep mail from it. Nobody logs in. */
void upstreams_look(const struct config *c, config_complaint *warn);
