/* SPDX-License-Identifier: MIT */
/* config/auth.h - the option auth: its values, and conflicts with other options. */
#pragma once

#include "config/read.h"

/* Reports conflicts; to be called after everything has been read. */
void auth_check(struct reading *r);
