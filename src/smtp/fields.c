/* SPDX-License-Identifier: MIT */
/* smtp/fields.c - header fields that a filter prints. RFC 5322 section 2.2. */
#include "smtp/fields.h"

#include <string.h>

static const char too_much[] = "more than 16 KiB of header fields, so 451: print less";

/* What ends a line for some reader, or hides the rest of it from one, is in none. */
static const char *check_line(const char *line, size_t n) {
        if (memchr(line, '\0', n))
                return "there is a NUL in it, so 451: print text";
        if (memchr(line, '\r', n))
                return "there is a CR in it, so 451: end header fields with LF";
        return n > FIELDS_LINE_MAX ? "a line has more than 998 octets, so 451: fold it" : NULL;
}

static size_t line_length(const char *text, size_t n) {
        const char *lf = memchr(text, '\n', n);

        return lf ? (size_t) (lf - text) : n;
}

/* A name, and a colon right after it. */
static bool is_field(const char *line, size_t n) {
        size_t i = 0;

        while (i < n && line[i] > ' ' && line[i] <= '~' && line[i] != ':')
                i++;
        return i > 0 && i < n && line[i] == ':';
}

static bool is_continuation(const char *line, size_t n) {
        size_t i = 0;

        while (i < n && (line[i] == ' ' || line[i] == '\t'))
                i++;
        return i > 0 && i < n;
}

static bool is_part(const struct fields *f, const char *line, size_t n) {
        return is_field(line, n) || (f->n > 0 && is_continuation(line, n));
}

static const char *add(struct fields *f, const char *line, size_t n) {
        if (n + 1 > FIELDS_MAX - f->n)
                return too_much;
        memcpy(f->text + f->n, line, n);
        f->text[f->n + n] = '\n';
        f->n += n + 1;
        return NULL;
}

/* To the end of the reply. */
static const char *skip_reply(const struct printed *p, size_t *ret_used) {
        size_t n = line_length(p->text, p->n);

        *ret_used = n + (n < p->n);
        return check_line(p->text, n - (n > 0 && p->text[n - 1] == '\r'));
}

/* Up to what was cut nobody knows whether it is the end. */
const char *fields_take(struct fields *ret, const struct printed *p, size_t *ret_used) {
        size_t at = 0;
        const char *mistake = p->has_reply ? skip_reply(p, &at) : NULL;

        ret->n = 0;
        while (!mistake && at < p->n) {
                const char *line = p->text + at;
                size_t n = line_length(line, p->n - at);

                mistake = check_line(line, n);
                if (mistake || (!is_part(ret, line, n) && (at + n < p->n || !p->is_cut)))
                        break;
                mistake = add(ret, line, n);
                at += mistake ? 0 : n + (at + n < p->n);
        }
        if (!mistake && at == p->n && p->is_cut)
                mistake = too_much;
        if (mistake)
                ret->n = 0;
        *ret_used = at;
        return mistake;
}
