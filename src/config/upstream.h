/* SPDX-License-Identifier: MIT */
/* config/upstream.h - the options of TLS and AUTH toward upstreams: their values, and what does not
 * go together. */
#pragma once

#include "config/read.h"
#include "config/tls.h"

/* When everything has been read: completes the name of the password's file, and complains. */
void upstream_settle(struct reading *r);
