/* base/ascii.c - lines put together of strings. */
#include "base/ascii.h"

#include <string.h>

size_t ascii_join_list(char *out, size_t room, va_list strings) {
        size_t at = 0;

        for (const char *s; (s = va_arg(strings, const char *));) {
                size_t n = strnlen(s, room - 1 - at);

                memcpy(out + at, s, n);
                at += n;
        }
        out[at] = '\0';
        return at;
}

size_t ascii_join(char *out, size_t room, ...) {
        va_list strings;
        size_t n;

        va_start(strings, room);
        n = ascii_join_list(out, room, strings);
        va_end(strings);
        return n;
}
