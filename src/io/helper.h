/* SPDX-License-Identifier: MIT */
/* io/helper.h - programs of ours that a session or the acceptor starts. */
#pragma once

#include <limits.h>
#include <stdbool.h>

/* Finds one by its name: beside the running program (in the build directory), or else where it is
 * installed, whose path is in `ret` in any case. false if it cannot be executed there either. */
bool helper_find(const char *name, char ret[static PATH_MAX]);
