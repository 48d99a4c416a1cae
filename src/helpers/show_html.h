/* SPDX-License-Identifier: MIT */
/* helpers/show_html.h - HTML as text. */
#pragma once

typedef struct _GString GString; /* of GLib */
#include <stddef.h>

/* Converts a page of HTML to text, both in UTF-8: without tags, styles and scripts, with line ends
 * where a browser breaks lines, and with the targets of links. */
GString *html_text(const char *html, size_t n);
