/* SPDX-License-Identifier: MIT */
/* smtp/fields.h - header fields that a filter prints, for the top of a message: smtpd-exec(7).
 *
 * RFC 5322 section 2.2 (fields), 2.2.3 (continuation lines), 2.1.1 (lines of 998 octets).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { FIELDS_MAX = 16 * 1024, FIELDS_LINE_MAX = 998 };

/* LF lines, each with its end. */
struct fields {
        size_t n;
        char text[FIELDS_MAX];
};

/* What a filter has printed. */
struct printed {
        const char *text;
        size_t n;
        bool is_cut;    /* there was more */
        bool has_reply; /* the first line is one, and may end with CR LF */
};

/* Takes the fields from a filter's output: from the line after the reply to the first line that is
 * not a field, which begins at `*ret_used`. The rest is not checked. A line of blanks is not a
 * field, because some readers take it for the end of the header section. Returns NULL; or, without
 * any fields, a text that says what is wrong and what to do. */
const char *fields_take(struct fields *ret, const struct printed *p, size_t *ret_used);
