/* SPDX-License-Identifier: MIT */
/* config/upstream.h - the options of TLS and AUTH toward upstreams: their values and conflicts. */
#pragma once

#include "config/read.h"
#include "config/tls.h"

/* Completes the name of the password file, and reports conflicts; to be called after everything has
 * been read. */
void upstream_settle(struct reading *r);
