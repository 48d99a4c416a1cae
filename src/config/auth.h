/* SPDX-License-Identifier: MIT */
/* config/auth.h - the option auth: its values, and what does not go together with it. */
#pragma once

#include "config/read.h"

/* Where everything has been read: complains. */
void auth_check(struct reading *r);
