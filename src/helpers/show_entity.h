/* SPDX-License-Identifier: MIT */
/* helpers/show_entity.h - character references of HTML: "&uuml;", "&#252;", "&#xfc;". */
#pragma once

#include <stddef.h>

enum { ENTITY_MAX = 8 }; /* octets of a character, with the NUL */

/* Decodes the reference that begins with the "&" at `s` to UTF-8; invisible characters become "".
 * Returns the length of the reference in octets, or 0 if it is not a known one. */
size_t entity_read(const char *s, size_t n, char ret[static ENTITY_MAX]);

/* Returns the text with all references decoded. The caller frees it. */
char *entity_decode(const char *s, size_t n);
