/* SPDX-License-Identifier: MIT */
/* helpers/show_charsets.h - loads character sets before the process confines itself, because the C
 * library has most of them in separate files. */
#pragma once

#include <stddef.h>

/* Loads the known character sets that a message seems to name, at most 24. */
void charsets_load(const char *message, size_t n);
