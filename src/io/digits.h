/* io/digits.h - numbers and their decimal digits. printf(3) and strtoul(3) would bring a quarter of the C library into the
 * memory of each session. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { DIGITS_MAX = 21 };

/* The digits, in `room`; returns where they begin. */
static inline char *digits_of(uint64_t n, char room[static DIGITS_MAX]) {
        char *p = room + DIGITS_MAX - 1;

        *p = '\0';
        do
                *--p = (char) ('0' + n % 10);
        while ((n /= 10) > 0);
        return p;
}

/* The number; false if this is none, or larger than `max`. */
static inline bool digits_read(const char *s, unsigned max, unsigned *ret) {
        uint64_t n = 0;
        const char *p = s;

        for (; *p >= '0' && *p <= '9' && n <= max; p++)
                n = n * 10 + (unsigned) (*p - '0');
        *ret = (unsigned) n;
        return p > s && *p == '\0' && n <= max;
}
