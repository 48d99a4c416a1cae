/* SPDX-License-Identifier: MIT */
/* base/text.c - a small printf(3). */
#include "base/text.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { NUMBER_MAX = 20 }; /* digits of UINT64_MAX */

struct out {
        char *at, *end; /* the end has room for the NUL */
};

/* One conversion: "%03lu". */
struct conversion {
        int precision; /* of %.*s; -1: none */
        unsigned width, n_long;
        bool is_size;
        char kind;
};

static void put(struct out *o, const char *s, size_t n) {
        size_t room = (size_t) (o->end - o->at);

        n = n < room ? n : room;
        memcpy(o->at, s, n);
        o->at += n;
}

static void put_number(struct out *o, uint64_t n, unsigned base, unsigned width) {
        static const char digits[] = "0123456789abcdef";
        char text[NUMBER_MAX], *p = text + sizeof(text);

        do
                *--p = digits[n % base];
        while ((n /= base) > 0);
        while ((size_t) (text + sizeof(text) - p) < width)
                *--p = '0';
        put(o, p, (size_t) (text + sizeof(text) - p));
}

static const char *read_digits(const char *f, unsigned *ret) {
        for (*ret = 0; *f >= '0' && *f <= '9'; f++)
                *ret = *ret * 10 + (unsigned) (*f - '0');
        return f;
}

/* What comes after "%". Returns the rest of the format. */
static const char *read_conversion(const char *f, va_list *arguments, struct conversion *ret) {
        *ret = (struct conversion) { .precision = -1 };
        f = read_digits(f, &ret->width);
        assert(ret->width <= NUMBER_MAX);
        if (f[0] == '.' && f[1] == '*') {
                ret->precision = va_arg(*arguments, int);
                f += 2;
        } else if (f[0] == '.') {
                unsigned precision;

                f = read_digits(f + 1, &precision);
                ret->precision = (int) precision;
        }
        for (; *f == 'l'; f++)
                ret->n_long++;
        if (*f == 'z') {
                ret->is_size = true;
                f++;
        }
        ret->kind = *f;
        return f + 1;
}

static uint64_t next_unsigned(const struct conversion *c, va_list *arguments) {
        if (c->is_size)
                return va_arg(*arguments, size_t);
        if (c->n_long == 2)
                return va_arg(*arguments, unsigned long long);
        return c->n_long == 1 ? va_arg(*arguments, unsigned long) : va_arg(*arguments, unsigned);
}

static int64_t next_signed(const struct conversion *c, va_list *arguments) {
        if (c->n_long == 2)
                return va_arg(*arguments, long long);
        return c->n_long == 1 ? va_arg(*arguments, long) : va_arg(*arguments, int);
}

static void put_signed(struct out *o, int64_t n, unsigned width) {
        if (n < 0)
                put(o, "-", 1);
        put_number(o, n < 0 ? -(uint64_t) n : (uint64_t) n, 10, width);
}

static void put_string(struct out *o, const char *s, int precision) {
        put(o, s, precision >= 0 ? strnlen(s, (size_t) precision) : strlen(s));
}

static void convert(struct out *o, const struct conversion *c, va_list *arguments) {
        char octet;

        switch (c->kind) {
        case 's': put_string(o, va_arg(*arguments, const char *), c->precision); break;
        case 'u': put_number(o, next_unsigned(c, arguments), 10, c->width); break;
        case 'x': put_number(o, next_unsigned(c, arguments), 16, c->width); break;
        case 'd': put_signed(o, next_signed(c, arguments), c->width); break;
        case 'c':
                octet = (char) va_arg(*arguments, int);
                put(o, &octet, 1);
                break;
        case '%': put(o, "%", 1); break;
        default: assert(false && "a conversion that text_format() knows");
        }
}

size_t text_format_list(char *out, size_t room, const char *format, va_list arguments) {
        struct out o = { out, out + room - 1 };
        va_list rest;

        va_copy(rest, arguments); /* an array on some machines: its address is that of a copy */
        while (*format) {
                const char *percent = strchrnul(format, '%');
                struct conversion c;

                put(&o, format, (size_t) (percent - format));
                format = percent;
                if (*percent) {
                        format = read_conversion(percent + 1, &rest, &c);
                        convert(&o, &c, &rest);
                }
        }
        va_end(rest);
        *o.at = '\0';
        return (size_t) (o.at - out);
}

size_t text_format(char *out, size_t room, const char *format, ...) {
        va_list arguments;
        size_t n;

        va_start(arguments, format);
        n = text_format_list(out, room, format, arguments);
        va_end(arguments);
        return n;
}
