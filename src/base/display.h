/* SPDX-License-Identifier: MIT */
/* base/display.h - makes text from strangers safe for a terminal and for the journal.
 *
 * A terminal interprets control characters. They are shown as "^[", "^?" and the like; C1 controls
 * and characters that change the direction of writing as "<U+202e>"; a C1 octet outside a UTF-8
 * character as "<9b>". The journal takes "<0>" at the beginning of a line for a priority, and
 * breaks lines at a NUL and at its maximum length. It therefore gets "<6>" before each line, which
 * it removes, and lines of at most DISPLAY_LINE octets.
 */
#pragma once

#include <stddef.h>

enum display_kind { DISPLAY_PLAIN, DISPLAY_TERMINAL, DISPLAY_JOURNAL };

enum {
        DISPLAY_LINE = 2048, /* LineMax= of journald.conf(5) is 48 KiB if nobody changed it */
        DISPLAY_CHARACTER = 4,
};

struct display {
        enum display_kind kind;
        unsigned char pending[DISPLAY_CHARACTER]; /* the beginning of a character */
        size_t n_pending;
        size_t column; /* octets of the line so far */
};

/* The room that display_text() needs for n octets and those pending. */
#define DISPLAY_ROOM(n) (4 * ((n) + DISPLAY_CHARACTER) + 1)

/* Writes the safe form of the text to `out`, and returns the number of octets. An incomplete
 * character at the end is kept until the next call; after a line end nothing is pending. */
size_t display_text(struct display *d, const char *data, size_t n, char *out);
