/* SPDX-License-Identifier: MIT */
/* base/display.c - makes text from strangers safe for a terminal and for the journal. */
#include "base/display.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

/* --- a terminal ------------------------------------------------------------------------------- */

enum { TOO_SHORT = 0, NO_CHARACTER = -1 };

/* How many octets a UTF-8 character has that begins with this one; 0: none does (RFC 3629). */
static size_t length_of(unsigned char first) {
        if (first < 0x80)
                return 1;
        return first < 0xc2 || first > 0xf4 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* The character at p. Returns its length; TOO_SHORT if n octets can be the beginning of one, and
 * NO_CHARACTER if not. */
static int decode(const unsigned char *p, size_t n, uint32_t *ret) {
        static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t length = length_of(*p);
        uint32_t c = length < 2 ? *p : *p & (0x7fU >> length);

        for (size_t i = 1; i < length; i++) {
                if (i == n)
                        return TOO_SHORT;
                if ((p[i] & 0xc0) != 0x80)
                        return NO_CHARACTER;
                c = c << 6 | (p[i] & 0x3fU);
        }
        *ret = c;
        if (length == 0 || c < least[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return NO_CHARACTER;
        return (int) length;
}

static bool is_c0(uint32_t c) {
        return (c < ' ' && c != '\t' && c != '\n') || c == 0x7f;
}

static bool is_c1(uint32_t c) {
        return c >= 0x80 && c < 0xa0;
}

/* Unicode's Bidi_Control. */
static bool turns_direction(uint32_t c) {
        return c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
               (c >= 0x2066 && c <= 0x2069);
}

/* The character c, which is n octets at p. */
static size_t show_character(uint32_t c, const unsigned char *p, size_t n, char *out) {
        if (is_c0(c))
                return text_format(out, sizeof("^x"), "^%c", (int) (c ^ 0x40));
        if (is_c1(c) || turns_direction(c))
                return text_format(out, sizeof("<U+xxxx>"), "<U+%04x>", (unsigned) c);
        memcpy(out, p, n);
        return n;
}

/* An octet that is no part of a character. */
static size_t show_octet(unsigned char c, char *out) {
        if (is_c1(c))
                return text_format(out, sizeof("<xx>"), "<%02x>", (unsigned) c);
        *out = (char) c;
        return 1;
}

/* What is pending, up to the beginning of a character. */
static size_t show_pending(struct display *d, char *out) {
        size_t n_out = 0;

        while (d->n_pending > 0) {
                uint32_t c;
                int length = decode(d->pending, d->n_pending, &c);

                if (length == TOO_SHORT)
                        break;
                if (length == NO_CHARACTER) {
                        n_out += show_octet(*d->pending, out + n_out);
                        length = 1;
                } else
                        n_out += show_character(c, d->pending, (size_t) length, out + n_out);
                d->n_pending -= (size_t) length;
                memmove(d->pending, d->pending + length, d->n_pending);
        }
        return n_out;
}

static size_t show_on_terminal(struct display *d, const char *data, size_t n, char *out) {
        size_t n_out = 0;

        for (size_t i = 0; i < n; i++) {
                d->pending[d->n_pending++] = (unsigned char) data[i];
                n_out += show_pending(d, out + n_out);
        }
        return n_out;
}

/* --- the journal ------------------------------------------------------------------------------ */

static size_t show_in_journal(struct display *d, const char *data, size_t n, char *out) {
        char *p = out;

        for (size_t i = 0; i < n; i++) {
                if (d->column == DISPLAY_LINE && data[i] != '\n') {
                        *p++ = '\n';
                        d->column = 0;
                }
                if (d->column == 0 && data[i] != '\n')
                        p = mempcpy(p, "<6>", 3);
                *p++ = data[i];
                d->column = data[i] == '\n' || data[i] == '\0' ? 0 : d->column + 1;
        }
        return (size_t) (p - out);
}

/* --- either ----------------------------------------------------------------------------------- */

size_t display_text(struct display *d, const char *data, size_t n, char *out) {
        switch (d->kind) {
        case DISPLAY_TERMINAL: return show_on_terminal(d, data, n, out);
        case DISPLAY_JOURNAL: return show_in_journal(d, data, n, out);
        case DISPLAY_PLAIN: break;
        }
        memcpy(out, data, n);
        return n;
}
