/* SPDX-License-Identifier: MIT */
/* helpers/show_part.c - what a message consists of. */
#include "helpers/show_part.h"

#include <gmime/gmime.h>
#include <string.h>

#include "base/ascii.h"
#include "helpers/show_page.h"
#include "smtp/trace.h"

static bool is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The line that begins there, with its LF. */
static struct octets line_at(const struct octets *text, size_t at) {
        const char *line = text->data + at, *lf = memchr(line, '\n', text->n - at);

        return (struct octets) { line, lf ? (size_t) (lf - line) + 1 : text->n - at };
}

/* --- header ----------------------------------------------------------------------------------- */

/* It ends where it does for the other strategies. */
static void split(struct part *p, const struct octets *text) {
        struct header_scan h = { 0 };
        size_t n;

        header_scan(&h, text->data, text->n);
        n = h.n_fields + (h.n_fields == h.n_header && h.is_over); /* and the empty line */
        p->header = (struct octets) { text->data, h.n_fields };
        p->content = (struct octets) { text->data + n, text->n - n };
        p->is_mbox = h.is_mbox;
}

bool part_next_field(const struct part *p, size_t *at, struct field *ret) {
        static const char mailbox_line[] = "X-Mailbox-Line";
        bool is_mbox = p->is_mbox && *at == 0;
        struct octets field, line;
        size_t n = 0;

        if (*at == p->header.n)
                return false;
        field = line_at(&p->header, *at);
        for (*at += field.n; *at < p->header.n && is_blank(p->header.data[*at]); *at += line.n) {
                line = line_at(&p->header, *at);
                field.n += line.n;
        }
        *ret = (struct field) { { mailbox_line, strlen(mailbox_line) }, field };
        if (is_mbox)
                return true;
        while (n < field.n && field.data[n] != ':' && !is_blank(field.data[n]))
                n++;
        ret->name = (struct octets) { field.data, n };
        while (n < field.n && field.data[n] != ':')
                n++;
        n += n < field.n;
        ret->value = (struct octets) { field.data + n, field.n - n };
        return true;
}

static bool begins_with(const struct field *f, const char *name) {
        return strlen(name) <= f->name.n && ascii_is_equal(f->name.data, name, strlen(name));
}

bool field_is_named(const struct field *f, const char *name) {
        return strlen(name) == f->name.n && begins_with(f, name);
}

/* The value of the first field of that name, or NULL. The caller frees it. */
static char *value_of(const struct part *p, const char *name) {
        struct field f;
        size_t at = 0;

        while (part_next_field(p, &at, &f))
                if (field_is_named(&f, name))
                        return page_decode(f.value.data, f.value.n, NULL);
        return NULL;
}

void part_take_header_as_text(struct part *p) {
        struct field f;
        size_t at = 0;

        while (!p->is_mbox && part_next_field(p, &at, &f))
                if (begins_with(&f, "Content-"))
                        return;
        if (p->header.n == 0)
                return;
        p->content.n += (size_t) (p->content.data - p->header.data);
        p->content.data = p->header.data;
        p->header.n = 0;
}

/* --- what it says of its content -------------------------------------------------------------- */

/* A type that is none counts as plain text (RFC 2045 section 5.2). */
static void read_type(struct part *p, const char *usual_type) {
        char *value = value_of(p, "Content-Type");

        p->type = g_mime_content_type_parse(NULL, !value               ? usual_type
                                                  : strchr(value, '/') ? value
                                                                       : "text/plain");
        g_free(value);
}

void part_read(struct part *ret, const struct octets *octets, const char *usual_type) {
        char *value;

        *ret = (struct part) { .encoding = GMIME_CONTENT_ENCODING_DEFAULT };
        split(ret, octets);
        read_type(ret, usual_type);
        if ((value = value_of(ret, "Content-Disposition")))
                ret->disposition = g_mime_content_disposition_parse(NULL, value);
        g_free(value);
        if ((value = value_of(ret, "Content-Transfer-Encoding")))
                ret->encoding = g_mime_content_encoding_from_string(value);
        g_free(value);
}

void part_read_inner(struct part *ret, const struct octets *octets, const char *usual_type) {
        part_read(ret, octets, usual_type);
        part_take_header_as_text(ret);
}

void part_free(struct part *p) {
        g_object_unref(p->type);
        if (p->disposition)
                g_object_unref(p->disposition);
}

bool part_is(const struct part *p, const char *type, const char *subtype) {
        return g_mime_content_type_is_type(p->type, type, subtype);
}

/* --- parts in it ------------------------------------------------------------------------------ */

enum delimiter { NO_DELIMITER, BEGIN, END };

/* "--boundary" or "--boundary--", and blanks. */
static enum delimiter delimiter_of(const struct octets *line, const char *boundary, size_t n) {
        const char *p = line->data + 2, *end = line->data + line->n;
        bool is_end;

        if (line->n < n + 2 || memcmp(line->data, "--", 2) != 0 || memcmp(p, boundary, n) != 0)
                return NO_DELIMITER;
        p += n;
        is_end = end - p >= 2 && memcmp(p, "--", 2) == 0;
        for (p += is_end ? 2 : 0; p < end; p++)
                if (!is_blank(*p))
                        return NO_DELIMITER;
        return is_end ? END : BEGIN;
}

/* Its octets; 0: there is none. */
static size_t boundary_of(const struct part *p, const char **ret) {
        size_t n;

        *ret = g_mime_content_type_get_parameter(p->type, "boundary");
        n = *ret ? strlen(*ret) : 0;
        while (n > 0 && is_blank((*ret)[n - 1]))
                n--;
        return n;
}

/* The line end before a delimiter belongs to that. */
static size_t without_line_end(const char *text, size_t n) {
        if (n > 0 && text[n - 1] == '\n')
                n--;
        return n > 0 && text[n - 1] == '\r' ? n - 1 : n;
}

/* What is between an end and one more delimiter is a part, too: the end was that of another
 * multipart with the same boundary. */
bool part_next(const struct part *p, size_t *at, struct octets *ret) {
        const char *boundary;
        size_t n = boundary_of(p, &boundary), begin = 0;
        enum delimiter before = NO_DELIMITER;

        for (struct octets line; n > 0 && *at < p->content.n; *at += line.n) {
                enum delimiter d;

                line = line_at(&p->content, *at);
                d = delimiter_of(&line, boundary, n);
                if (before != NO_DELIMITER && d != NO_DELIMITER) {
                        const char *text = p->content.data + begin;

                        *ret = (struct octets) { text, without_line_end(text, *at - begin) };
                        return true;
                }
                if (d != NO_DELIMITER) {
                        before = d;
                        begin = *at + line.n;
                }
        }
        *ret = (struct octets) { p->content.data + begin, p->content.n - begin };
        return before == BEGIN;
}

bool part_has_parts(const struct part *p) {
        struct octets octets;
        size_t at = 0;

        while (part_next(p, &at, &octets))
                if (octets.n > 0)
                        return true;
        return false;
}

/* --- transfer encodings ----------------------------------------------------------------------- */

static bool is_base64(char c) {
        return ascii_is_alnum(c) || c == '+' || c == '/';
}

/* Whether a line is base64: adds its digits, with "=". */
static bool count_digits(const struct octets *line, size_t *n_digits) {
        size_t i = 0, n_base64, n;

        while (i < line->n && is_base64(line->data[i]))
                i++;
        n_base64 = i;
        while (i < line->n && i < n_base64 + 2 && line->data[i] == '=')
                i++;
        n = i;
        while (i < line->n && is_blank(line->data[i]))
                i++;
        *n_digits += n;
        return i == line->n;
}

/* The octets that are base64: whole lines, up to the end of a group of four digits. */
static size_t base64_length(const struct octets *text) {
        size_t n = 0, n_digits = 0;
        struct octets line;

        for (size_t at = 0; at < text->n; at += line.n) {
                line = line_at(text, at);
                if (!count_digits(&line, &n_digits))
                        break;
                if (n_digits % 4 == 0)
                        n = at + line.n;
        }
        return n;
}

/* Of quoted-printable: GMime keeps back a "=x" at the end of the text. */
static void add_rest(GByteArray *out, const GMimeEncoding *state, const struct octets *text) {
        enum { AFTER_ONE_DIGIT = 2 };

        if (state->encoding == GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE &&
            state->state == AFTER_ONE_DIGIT)
                g_byte_array_append(out, (const guint8 *) text->data + text->n - 2, 2);
}

static GByteArray *decode(const struct part *p, size_t n) {
        GByteArray *out = g_byte_array_new();
        GMimeEncoding state;

        g_mime_encoding_init_decode(&state, (GMimeContentEncoding) p->encoding);
        g_byte_array_set_size(out, (guint) g_mime_encoding_outlen(&state, n));
        n = g_mime_encoding_step(&state, p->content.data, n, (char *) out->data);
        g_byte_array_set_size(out, (guint) n);
        add_rest(out, &state, &p->content);
        return out;
}

GBytes *part_decode(const struct part *p) {
        const struct octets *text = &p->content;
        size_t n = p->encoding == GMIME_CONTENT_ENCODING_BASE64            ? base64_length(text)
                   : p->encoding == GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE ? text->n
                                                                           : 0;
        GByteArray *out;

        if (n == 0)
                return g_bytes_new_static(text->data, text->n);
        out = decode(p, n);
        g_byte_array_append(out, (const guint8 *) text->data + n, (guint) (text->n - n));
        return g_byte_array_free_to_bytes(out);
}
