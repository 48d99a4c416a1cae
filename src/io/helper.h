/* SPDX-License-Identifier: MIT */
/* io/helper.h - finds the helper programs that a session or the acceptor starts. */
#pragma once

#include <limits.h>
#include <stdbool.h>

/* Finds a helper by its name: beside the running program (in the build directory), or else where it
 * is installed. Returns false if it cannot be executed there either; `ret` has that path then. */
bool helper_find(const char *name, char ret[static PATH_MAX]);
