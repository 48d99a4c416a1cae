/* SPDX-License-Identifier: MIT */
/* count.h - how often an octet is in a text, for the programs that test smtp/reply. */
#pragma once

#include <stddef.h>

static inline size_t count(const char *s, char c) {
        size_t n = 0;

        for (; *s; s++)
                n += *s == c;
        return n;
}
