/* SPDX-License-Identifier: MIT */
/* helpers/show_message.c - a message as a person reads it. */
#include "helpers/show_message.h"

#include <gmime/gmime.h>
#include <stdbool.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "helpers/show_html.h"
#include "helpers/show_page.h"
#include "helpers/show_part.h"

enum { DEPTH_MAX = 32 }; /* parts in parts; what is deeper is listed only */

/* A message being shown. */
struct view {
        GString *page;
        GString *list; /* of what is not shown */
        unsigned depth;
};

/* --- header ----------------------------------------------------------------------------------- */

/* In the order in which they are shown. */
static const struct {
        const char *name;
        bool is_addresses;
} fields[] = {
        { "X-Mailbox-Line", false },
        { "From", true },
        { "Sender", true },
        { "Reply-To", true },
        { "To", true },
        { "Cc", true },
        { "Bcc", true },
        { "Date", false },
        { "Subject", false },
};

/* "Name" <address> in words: names are decoded one by one, so that none can look like an address of
 * the list. NULL: there are no addresses in it. */
static char *decode_addresses(const char *raw) {
        InternetAddressList *list = internet_address_list_parse(NULL, raw);
        char *text = list ? internet_address_list_to_string(list, NULL, FALSE) : NULL;

        if (list)
                g_object_unref(list);
        return text;
}

static void show_field(GString *page, const char *name, const struct octets *raw,
                       bool is_addresses) {
        char *octets = page_decode(raw->data, raw->n, NULL);
        char *text = is_addresses ? decode_addresses(octets) : NULL;

        if (!text)
                text = g_mime_utils_header_decode_text(NULL, octets);
        page_field(page, name, text);
        g_free(text);
        g_free(octets);
}

static void show_header(GString *page, const struct part *message) {
        for (size_t i = 0; i < ELEMENTS(fields); i++) {
                struct field f;

                for (size_t at = 0; part_next_field(message, &at, &f);)
                        if (field_is_named(&f, fields[i].name))
                                show_field(page, fields[i].name, &f.value, fields[i].is_addresses);
        }
}

/* --- parts ------------------------------------------------------------------------------------ */

static bool is_multipart(const struct part *part) {
        return part_is(part, "multipart", "*");
}

static bool is_message(const struct part *part) {
        static const char *const subtypes[] = { "rfc822", "global", "news", "rfc2822" };

        for (size_t i = 0; i < ELEMENTS(subtypes); i++)
                if (part_is(part, "message", subtypes[i]))
                        return true;
        return false;
}

static size_t size_of(const struct part *part) {
        GBytes *octets = part_decode(part);
        size_t n = g_bytes_get_size(octets);

        g_bytes_unref(octets);
        return n;
}

/* The name of a part that has one. */
static const char *name_of(const struct part *part) {
        const char *name =
                part->disposition
                        ? g_mime_content_disposition_get_parameter(part->disposition, "filename")
                        : NULL;

        return name ? name : g_mime_content_type_get_parameter(part->type, "name");
}

/* "Attachment: name, type/subtype, N octets" */
static void list_part(struct view *v, const char *what, const struct part *part) {
        const char *name = name_of(part);
        char *type = g_mime_content_type_get_mime_type(part->type);
        size_t n = size_of(part);
        char *line = g_strdup_printf("%s%s%s, %zu octet%s", name ? name : "", name ? ", " : "",
                                     type, n, text_plural(n));

        page_field(v->list, what, line);
        g_free(line);
        g_free(type);
}

/* Whether it is to be read, and not to be saved. */
static bool is_text(const struct part *part) {
        const char *disposition =
                part->disposition ? g_mime_content_disposition_get_disposition(part->disposition)
                                  : NULL;

        if (!part_is(part, "text", "*"))
                return false;
        if (!disposition)
                return !name_of(part);
        return g_ascii_strcasecmp(disposition, GMIME_DISPOSITION_INLINE) == 0;
}

/* An empty line before what comes next. */
static void separate(GString *page) {
        if (page->len < 2 || memcmp(page->str + page->len - 2, "\n\n", 2) != 0)
                g_string_append_c(page, '\n');
}

/* What is said of it; NULL if that cannot be: lines that came as they are have ASCII in them. */
static const char *charset_of(const struct part *part) {
        static const char ascii[] = "Az09\n";
        const char *charset = g_mime_content_type_get_parameter(part->type, "charset");
        char *decoded;
        bool has_ascii;

        if (!charset || part->encoding == GMIME_CONTENT_ENCODING_BASE64 ||
            part->encoding == GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE)
                return charset;
        decoded = page_decode(ascii, strlen(ascii), charset);
        has_ascii = strcmp(decoded, ascii) == 0;
        g_free(decoded);
        return has_ascii ? charset : NULL;
}

static GString *make_text(const struct part *part, const char *octets, size_t n) {
        char *text = page_decode(octets, n, charset_of(part));
        GString *plain = part_is(part, "text", "html") ? html_text(text, strlen(text)) : NULL;
        GString *safe = g_string_new(NULL);

        page_text(safe, plain ? plain->str : text, plain ? plain->len : strlen(text));
        if (plain)
                g_string_free(plain, TRUE);
        g_free(text);
        return safe;
}

/* HTML without a text, such as a picture, is listed. */
static void show_text(struct view *v, const struct part *part) {
        GBytes *octets = part_decode(part);
        size_t n;
        const char *data = g_bytes_get_data(octets, &n);
        GString *text = make_text(part, data, n);

        if (text->len > 0) {
                separate(v->page);
                g_string_append_len(v->page, text->str, (gssize) text->len);
        } else if (n > 0 && part_is(part, "text", "html"))
                list_part(v, "Attachment", part);
        g_string_free(text, TRUE);
        g_bytes_unref(octets);
}

/* Parts have parts, as many levels of them as DEPTH_MAX says. NOLINTBEGIN(misc-no-recursion) */

static void show_part(struct view *v, const struct part *part);

static const char *usual_type(const struct part *parts) {
        return part_is(parts, "multipart", "digest") ? "message/rfc822" : "text/plain";
}

/* Of those that say the same, plain text is read best, if there is any; or else the last one that
 * is understood (RFC 2046 section 5.1.4). Returns where it begins. */
static const char *choose(const struct part *parts) {
        const char *best = NULL, *last = NULL;
        struct octets octets;
        bool is_best = false;

        for (size_t at = 0; !is_best && part_next(parts, &at, &octets);) {
                struct part part;

                part_read_inner(&part, &octets, usual_type(parts));
                last = octets.data;
                is_best = is_text(&part) && part_is(&part, "text", "plain") && size_of(&part) > 0;
                if (is_best || is_multipart(&part) || is_text(&part))
                        best = octets.data;
                part_free(&part);
        }
        return best ? best : last;
}

/* One that is not chosen: what is in it is listed, so that no attachment is missed. */
static void list_alternative(struct view *v, const struct part *part) {
        bool has_parts = ++v->depth <= DEPTH_MAX && is_multipart(part) && part_has_parts(part);
        struct octets octets;

        if (!has_parts)
                list_part(v, "Alternative", part);
        for (size_t at = 0; has_parts && part_next(part, &at, &octets);) {
                struct part inner;

                part_read_inner(&inner, &octets, usual_type(part));
                if (is_multipart(&inner) || is_text(&inner))
                        list_alternative(v, &inner);
                else
                        list_part(v, "Attachment", &inner);
                part_free(&inner);
        }
        v->depth--;
}

static void show_parts(struct view *v, const struct part *parts) {
        bool is_alternative = part_is(parts, "multipart", "alternative");
        const char *chosen = is_alternative ? choose(parts) : NULL;
        struct octets octets;

        for (size_t at = 0; part_next(parts, &at, &octets);) {
                struct part part;

                part_read_inner(&part, &octets, usual_type(parts));
                if (!is_alternative || octets.data == chosen)
                        show_part(v, &part);
                else
                        list_alternative(v, &part);
                part_free(&part);
        }
}

static void show_message(GString *page, const struct octets *octets, unsigned depth);

static void show_attached(struct view *v, const struct part *part) {
        GBytes *content = part_decode(part);
        struct octets octets;
        const char *data = g_bytes_get_data(content, &octets.n);

        octets.data = data ? data : "";
        separate(v->page);
        g_string_append(v->page, "---- attached message ----\n");
        show_message(v->page, &octets, v->depth);
        g_string_append(v->page, "---- end of attached message ----\n");
        g_bytes_unref(content);
}

/* A multipart without parts is text. */
static void show_part(struct view *v, const struct part *part) {
        bool is_shown = ++v->depth <= DEPTH_MAX;

        if (is_shown && is_multipart(part) && part_has_parts(part))
                show_parts(v, part);
        else if (is_shown && is_message(part))
                show_attached(v, part);
        else if (is_shown && (is_text(part) || is_multipart(part)))
                show_text(v, part);
        else
                list_part(v, "Attachment", part);
        v->depth--;
}

/* What has no usual field may have no header, but text with colons in it. */
static void show_message(GString *page, const struct octets *octets, unsigned depth) {
        struct view v = { .page = page, .list = g_string_new(NULL), .depth = depth };
        size_t before = page->len;
        struct part message;

        part_read(&message, octets, "text/plain");
        show_header(page, &message);
        if (page->len == before)
                part_take_header_as_text(&message);
        show_part(&v, &message);
        if (v.list->len > 0) {
                separate(page);
                g_string_append_len(page, v.list->str, (gssize) v.list->len);
        }
        g_string_free(v.list, TRUE);
        part_free(&message);
}

/* NOLINTEND(misc-no-recursion) */

void message_show(GString *page, const char *message, size_t n) {
        show_message(page, &(struct octets) { message, n }, 0);
}
