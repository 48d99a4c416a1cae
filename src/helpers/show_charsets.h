/* SPDX-License-Identifier: MIT */
/* helpers/show_charsets.h - the C library's character sets, by the names that mail has for them. It
 * has most of them in separate files, so they are loaded before the process confines itself. */
#pragma once

#include <iconv.h>
#include <stdbool.h>
#include <stddef.h>

/* As iconv_open(3), to UTF-8. Names of Windows and private ones (x-sjis) are known too. */
iconv_t charsets_open(const char *name);

/* Whether that is one. */
bool charsets_is_open(iconv_t cd);

/* Loads the known character sets that a message seems to name, at most 24. */
void charsets_load(const char *message, size_t n);
