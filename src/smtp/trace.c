/* smtp/trace.c - trace information. RFC 5321 sections 4.4 and 6.3. */
#include "smtp/trace.h"

#include <string.h>

/* Whether c is the lower-case letter or the sign `expected`, in either case. */
static bool is_same_letter(char c, char expected) {
        return c == expected || (expected >= 'a' && c == (expected & ~0x20));
}

/* One octet of a header line. */
static void scan_octet(struct header_scan *h, char c) {
        static const char received[] = "received:";

        if (c == '\n') {
                if (h->column == 0) {
                        h->is_over = true;
                        return;
                }
                h->column = 0;
        } else {
                if (h->column == 0)
                        h->is_in_name = true;
                h->is_in_name &= h->column < sizeof(received) - 1 && is_same_letter(c, received[h->column]);
                h->column++;
                if (h->is_in_name && h->column == sizeof(received) - 1)
                        h->n_received++;
        }
        h->n_header++;
}

void header_scan(struct header_scan *h, const char *text, size_t n) {
        for (size_t at = 0; at < n && !h->is_over; at++) {
                const char *lf;

                if (h->column > 0 && !h->is_in_name) { /* the rest of the line means nothing */
                        lf = memchr(text + at, '\n', n - at);
                        h->n_header += (lf ? (size_t) (lf - text) : n) - at;
                        if (!lf)
                                return;
                        at = (size_t) (lf - text);
                }
                scan_octet(h, text[at]);
        }
}
