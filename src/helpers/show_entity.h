/* SPDX-License-Identifier: MIT */
/* helpers/show_entity.h - character references of HTML: "&uuml;", "&#252;", "&#xfc;". */
#pragma once

#include <stddef.h>

enum { ENTITY_MAX = 8 }; /* octets of a character, with the NUL */

/* The character of the reference that begins with the "&" at `s`, in UTF-8; "" for those that
 * nobody sees. Returns the octets that the reference has, 0 if it is none that is known here. */
size_t entity_read(const char *s, size_t n, char ret[static ENTITY_MAX]);

/* The text with all of them replaced. The caller frees it. */
char *entity_decode(const char *s, size_t n);
