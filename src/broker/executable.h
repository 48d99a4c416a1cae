/* SPDX-License-Identifier: MIT */
/* broker/executable.h - the file of a program: finds it, and diagnoses why it cannot be executed.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#define EXECUTABLE_DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum { EXECUTABLE_REASON_MAX = 1024 };

/* Finds the file of a program: the name itself if it has a slash; otherwise the first executable
 * file of that name in $PATH, or else the first one. Returns NULL if there is none. */
const char *executable_find(const char *name, char path[static PATH_MAX]);

/* Says why a program cannot be executed, and what to do: "Permission denied (not executable: chmod
 * +x ./hook)". `path` is what executable_find() found, `error` the errno of execve(2), or 0 if
 * nobody tried. Returns false if there is nothing to say: no error, and nothing wrong is seen. */
bool executable_diagnose(const char *name, const char *path, int error,
                         char ret[static EXECUTABLE_REASON_MAX]);
