/* SPDX-License-Identifier: MIT */
/* helpers/show_charsets.h - character sets are loaded before the process confines itself: the C
 * library has most of them in files of their own. */
#pragma once

#include <stddef.h>

/* Loads those that a message seems to name, as far as they are known; 24 at most. */
void charsets_load(const char *message, size_t n);
