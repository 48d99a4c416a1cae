/* SPDX-License-Identifier: MIT */
/* helpers/show_message.h - a message as a person reads it: RFC 2046, 2047, 2183, 2231. */
#pragma once

#include <stddef.h>

typedef struct _GString GString; /* of GLib */

/* Adds the message to the page: the usual header fields, the text, and a list of the other parts.
 * Invalid MIME is shown as text. */
void message_show(GString *page, const char *message, size_t n);
