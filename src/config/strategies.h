/* SPDX-License-Identifier: MIT */
/* config/strategies.h - what the rows of the strategies (deliver/delivery.h) say of the options.
 *
 * The table of strategies is the caller's, in struct config.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "config/options.h"

/* Enough for all names. */
enum { STRATEGIES_TEXT_MAX = 256 };

/* "print, journal or exec". */
void strategies_names(const struct config *c, char ret[STRATEGIES_TEXT_MAX]);

/* A line for each, as --help shows them. */
void strategies_print(const struct config *c, FILE *out);

/* The one in use. */
const char *strategies_in_use(const struct config *c);

/* Those that have the option: "proxy mailman"; "" if it is for all. */
void strategies_having(const struct config *c, const struct option *o,
                       char ret[STRATEGIES_TEXT_MAX]);

/* Whether the option makes sense with the strategy in use. */
bool strategies_allow(const struct config *c, const struct option *o);

/* Whether it knows somebody who takes AUTH. */
bool strategies_has_judge(const struct config *c);

/* What the strategy in use says of its options: a complaint, and the option to blame; NULL if they
 * are all right. */
const char *strategies_check(const struct config *c, const char **ret_option);
