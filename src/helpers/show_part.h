/* SPDX-License-Identifier: MIT */
/* helpers/show_part.h - what a message consists of: RFC 5322 section 2.1, RFC 2045, RFC 2046
 * section 5.1, RFC 2183. A message is a part, and a multipart has parts in it.
 *
 * Each octet of a part is in its header or in its content, whatever is wrong with it: what is not
 * valid MIME is text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct _GBytes GBytes; /* of GLib */
typedef struct _GMimeContentType GMimeContentType;
typedef struct _GMimeContentDisposition GMimeContentDisposition;

struct octets {
        const char *data;
        size_t n;
};

struct part {
        struct octets header, content; /* the content as it came */
        bool is_mbox;                  /* the first line of the header is "From ..." */
        GMimeContentType *type;
        GMimeContentDisposition *disposition; /* NULL: there is none */
        int encoding;                         /* a GMimeContentEncoding */
};

/* The part that these octets are; they must stay. `usual_type` is its type if it has no
 * Content-Type. */
void part_read(struct part *ret, const struct octets *octets, const char *usual_type);

/* The same for a part that is in another one, and not a message: of its header only Content-...
 * has a meaning. If there is no such field, the header is text. */
void part_read_inner(struct part *ret, const struct octets *octets, const char *usual_type);

void part_free(struct part *p);

/* If no field of the header begins with Content-, the header becomes a part of the content. So does
 * one that begins with the first line of an mbox. */
void part_take_header_as_text(struct part *p);

/* The next field of the header, from `*at` (0 at first) on. The first line of an mbox counts as
 * one. */
struct field {
        struct octets name, value;
};
bool part_next_field(const struct part *p, size_t *at, struct field *ret);
bool field_is_named(const struct field *f, const char *name);

bool part_is(const struct part *p, const char *type, const char *subtype);

/* The next part of a multipart, from `*at` (0 at first) on. */
bool part_next(const struct part *p, size_t *at, struct octets *ret);

/* Whether it has any that is not empty. */
bool part_has_parts(const struct part *p);

/* The content without its transfer encoding. Base64 ends before the first line that is none; the
 * rest is as it came. */
GBytes *part_decode(const struct part *p);
