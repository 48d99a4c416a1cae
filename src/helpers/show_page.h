/* SPDX-License-Identifier: MIT */
/* helpers/show_page.h - the page to print: UTF-8, without control sequences for a terminal. */
#pragma once

typedef struct _GString GString; /* of GLib */
#include <stddef.h>

/* Converts octets in a character set to UTF-8: invalid ones become U+FFFD, and a NUL becomes a
 * space. If the character set is unknown or NULL, they are taken for UTF-8 if valid, otherwise for
 * Windows-1252. The caller frees the result. */
char *page_decode(const char *text, size_t n, const char *charset);

/* Adds "NAME: VALUE" as one line, unless the value (UTF-8, or else Windows-1252) is empty. */
void page_field(GString *page, const char *name, const char *value);

/* Adds a text of n octets, as lines, without empty lines at both ends. */
void page_text(GString *page, const char *text, size_t n);
