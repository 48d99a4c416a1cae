/* SPDX-License-Identifier: MIT */
/* base/ascii.h - letters and digits as protocols define them: ASCII only, independent of the
 * locale. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline char ascii_lower(char c) {
        return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
}

static inline char ascii_upper(char c) {
        return c >= 'a' && c <= 'z' ? (char) (c & ~0x20) : c;
}

static inline bool ascii_is_digit(char c) {
        return c >= '0' && c <= '9';
}

static inline bool ascii_is_alnum(char c) {
        return ascii_is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

static inline bool ascii_is_equal(const char *a, const char *b, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (ascii_lower(a[i]) != ascii_lower(b[i]))
                        return false;
        return true;
}

/* Reads the decimal digits at the beginning of a text; UINT64_MAX if the number is that large or
 * larger. Returns the end of the digits. */
static inline const char *ascii_read_number(const char *s, uint64_t *ret) {
        for (*ret = 0; ascii_is_digit(*s); s++) {
                unsigned digit = (unsigned) (*s - '0');

                *ret = *ret > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *ret * 10 + digit;
        }
        return s;
}

/* Reads the number if the whole text is one and it is at most `max`; otherwise returns false. */
static inline bool ascii_parse_number(const char *s, uint64_t max, uint64_t *ret) {
        return ascii_is_digit(*s) && *ascii_read_number(s, ret) == '\0' && *ret <= max;
}
