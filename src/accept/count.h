/* SPDX-License-Identifier: MIT */
/* accept/count.h - count=: whether as many messages were accepted as were to come. */
#pragma once

#include <stdbool.h>

#include "accept/figures.h"
#include "config/config.h"

/* Never without count=. */
bool count_is_reached(const struct config *c, const struct figures *f);

/* At the end of an acceptor that could serve, when its last session has ended: counts what that has
 * said, says how many there were, and returns the exit status, by which whoever started us learns
 * whether all came. Without count= that is 0. */
int count_exit_status(const struct config *c, struct figures *f);
