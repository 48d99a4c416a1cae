/* base/ascii.h - letters without regard to case, numbers, and lines put together of strings, as protocols mean them: ASCII
 * only, whatever the locale is.
 *
 * printf(3) and strtoul(3) would do some of it. They bring a quarter of the C library into the memory of each session.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline char ascii_lower(char c) {
        return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
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

enum { ASCII_NUMBER_MAX = 21 };

/* The number in decimal digits, in `room`; returns where they begin. */
static inline const char *ascii_number(uint64_t n, char room[static ASCII_NUMBER_MAX]) {
        char *p = room + ASCII_NUMBER_MAX - 1;

        *p = '\0';
        do
                *--p = (char) ('0' + n % 10);
        while ((n /= 10) > 0);
        return p;
}

/* Puts strings together, of which the last is NULL; what is beyond `room`, which is at least 1, is left out. There is always a
 * NUL at the end. Returns the octets before it. */
__attribute__((sentinel)) size_t ascii_join(char *out, size_t room, ...);
size_t ascii_join_list(char *out, size_t room, va_list strings);

/* The number that the digits at the beginning of a text are; UINT64_MAX if it is that or larger. Returns the end of the digits. */
static inline const char *ascii_read_number(const char *s, uint64_t *ret) {
        for (*ret = 0; ascii_is_digit(*s); s++) {
                unsigned digit = (unsigned) (*s - '0');

                *ret = *ret > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *ret * 10 + digit;
        }
        return s;
}
