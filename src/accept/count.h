/* SPDX-License-Identifier: MIT */
/* accept/count.h - count=: ends the acceptor after a number of accepted messages. */
#pragma once

#include <stdbool.h>

#include "accept/figures.h"
#include "config/config.h"

/* Whether count= is reached; never without count=. */
bool count_is_reached(const struct config *c, const struct figures *f);

/* The exit status of an acceptor that has served, after its last session has ended. Without count=
 * it is 0. With count= this reads the last figures, logs how many messages were accepted, and
 * returns 0 if there were enough, otherwise EX_TEMPFAIL. */
int count_exit_status(const struct config *c, struct figures *f);
