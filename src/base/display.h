/* SPDX-License-Identifier: MIT */
/* base/display.h - text of strangers, for what would take some of it for orders.
 *
 * A terminal obeys control characters: they are shown as "^[", "^?" and the like; C1 controls and
 * those that turn the direction of writing as "<U+202e>"; an octet of C1 that is no part of a
 * UTF-8 character as "<9b>". The journal takes "<0>" at a line's beginning for a priority, and
 * begins a line after a NUL, and in the middle of one that is too long for it. So it gets "<6>"
 * before each line, which is all that it takes away, and lines of at most DISPLAY_LINE octets.
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

/* The room for what n octets become, with those that were pending. */
#define DISPLAY_ROOM(n) (4 * ((n) + DISPLAY_CHARACTER) + 1)

/* Writes to `out` what is to be shown of the text, and returns the number of octets. The beginning
 * of a character at its end is pending until the next call: a line's end leaves nothing so. */
size_t display_text(struct display *d, const char *data, size_t n, char *out);
