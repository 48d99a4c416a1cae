/* SPDX-License-Identifier: MIT */
/* helpers/show_message.h - a message as a person reads it. The only file that knows of MIME, with
 * GMime (RFC 2045 to 2047, 2183, 2231). */
#pragma once

#include <stddef.h>

typedef struct _GString GString; /* of GLib */

/* Adds it to the page: the usual fields of its header, its text, and a list of what else there is.
 * What is no MIME is shown as text. */
void message_show(GString *page, const char *message, size_t n);
