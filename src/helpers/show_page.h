/* SPDX-License-Identifier: MIT */
/* helpers/show_page.h - the page that is shown: UTF-8, and nothing in it is an order to a
 * terminal. */
#pragma once

typedef struct _GString GString; /* of GLib */
#include <stddef.h>

/* Octets in some character set as UTF-8: those that are none in it become U+FFFD. Of an unknown
 * set, or of none (NULL), they are UTF-8 if they can be, else Windows-1252. The caller frees it. */
char *page_decode(const char *text, size_t n, const char *charset);

/* Adds "NAME: VALUE" and a line's end, unless the value (UTF-8, or else Windows-1252) is empty. It
 * becomes one line. */
void page_field(GString *page, const char *name, const char *value);

/* Adds a text of n octets, as lines. Empty ones at both ends are left out. */
void page_text(GString *page, const char *text, size_t n);
