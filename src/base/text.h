/* SPDX-License-Identifier: MIT */
/* base/text.h - builds text: a small printf(3) for sessions.
 *
 * printf(3) itself would add some 200 KiB of the C library to the memory of each session, and 20 us
 * to its start. This one supports %s, %.*s, %.9s, %c, %u, %d, %x and %%, with the lengths l, ll and
 * z, and a width with leading zeros (%03u).
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* Writes the text and a NUL into `out`, which has room for `room` (at least 1) octets; what does
 * not fit is left out. Returns the number of octets before the NUL. Any other conversion is a bug
 * (assert). */
__attribute__((format(printf, 3, 4))) size_t text_format(char *out, size_t room, const char *format,
                                                         ...);
__attribute__((format(printf, 3, 0))) size_t text_format_list(char *out, size_t room,
                                                              const char *format,
                                                              va_list arguments);

/* The plural suffix of a noun after this number. */
static inline const char *text_plural(uint64_t n) {
        return n == 1 ? "" : "s";
}
