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
        { "From", true }, { "Sender", true }, { "Reply-To", true }, { "To", true },
        { "Cc", true },   { "Bcc", true },    { "Date", false },    { "Subject", false },
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

static void show_field(GString *page, const char *name, const char *raw, bool is_addresses) {
        char *octets = page_decode(raw, strlen(raw), NULL);
        char *text = is_addresses ? decode_addresses(octets) : NULL;

        if (!text)
                text = g_mime_utils_header_decode_text(NULL, octets);
        page_field(page, name, text);
        g_free(text);
        g_free(octets);
}

static void show_header(GString *page, GMimeObject *message) {
        GMimeHeaderList *list = g_mime_object_get_header_list(message);
        int n = g_mime_header_list_get_count(list);

        for (size_t i = 0; i < ELEMENTS(fields); i++)
                for (int k = 0; k < n; k++) {
                        GMimeHeader *header = g_mime_header_list_get_header_at(list, k);
                        const char *raw = g_mime_header_get_raw_value(header);

                        if (raw &&
                            g_ascii_strcasecmp(g_mime_header_get_name(header), fields[i].name) == 0)
                                show_field(page, fields[i].name, raw, fields[i].is_addresses);
                }
}

/* --- parts ------------------------------------------------------------------------------------ */

/* What is in a part, without its transfer encoding. */
static GByteArray *content_of(GMimePart *part) {
        GMimeDataWrapper *content = g_mime_part_get_content(part);
        GByteArray *octets = g_byte_array_new();
        GMimeStream *stream = g_mime_stream_mem_new_with_byte_array(octets);

        g_mime_stream_mem_set_owner(GMIME_STREAM_MEM(stream), FALSE);
        if (content)
                g_mime_data_wrapper_write_to_stream(content, stream);
        g_object_unref(stream);
        return octets;
}

static size_t size_of(GMimeObject *part) {
        GMimeStream *stream = g_mime_stream_null_new();
        size_t n;

        if (GMIME_IS_PART(part) && g_mime_part_get_content(GMIME_PART(part)))
                g_mime_data_wrapper_write_to_stream(g_mime_part_get_content(GMIME_PART(part)),
                                                    stream);
        else if (!GMIME_IS_PART(part))
                g_mime_object_write_content_to_stream(part, NULL, stream);
        n = GMIME_STREAM_NULL(stream)->written;
        g_object_unref(stream);
        return n;
}

/* The name of a part that has one; the caller frees it. */
static char *name_of(GMimeObject *part) {
        const char *name = GMIME_IS_PART(part) ? g_mime_part_get_filename(GMIME_PART(part)) : NULL;

        return name ? g_strdup(name) : NULL;
}

/* "Attachment: name, type/subtype, N octets" */
static void list_part(struct view *v, const char *what, GMimeObject *part) {
        char *name = name_of(part);
        char *type = g_mime_content_type_get_mime_type(g_mime_object_get_content_type(part));
        size_t n = size_of(part);
        char *line = g_strdup_printf("%s%s%s, %zu octet%s", name ? name : "", name ? ", " : "",
                                     type, n, text_plural(n));

        page_field(v->list, what, line);
        g_free(line);
        g_free(type);
        g_free(name);
}

/* A type that is none counts as plain text (RFC 2045 section 5.2). */
static bool has_text_type(GMimeObject *part) {
        const char *type = g_mime_object_get_header(part, "Content-Type");

        return (type && !strchr(type, '/')) ||
               g_mime_content_type_is_type(g_mime_object_get_content_type(part), "text", "*");
}

/* Whether it is to be read, and not to be saved. */
static bool is_text(GMimeObject *part) {
        const char *disposition = g_mime_object_get_disposition(part);
        char *name = name_of(part);
        bool has_name = name != NULL;

        g_free(name);
        if (!GMIME_IS_PART(part) || !has_text_type(part))
                return false;
        if (!disposition)
                return !has_name;
        return g_ascii_strcasecmp(disposition, GMIME_DISPOSITION_INLINE) == 0;
}

/* An empty line before what comes next. */
static void separate(GString *page) {
        if (page->len < 2 || memcmp(page->str + page->len - 2, "\n\n", 2) != 0)
                g_string_append_c(page, '\n');
}

static void show_text(struct view *v, GMimeObject *part) {
        GMimeContentType *type = g_mime_object_get_content_type(part);
        GByteArray *octets = content_of(GMIME_PART(part));
        char *text = page_decode((const char *) octets->data, octets->len,
                                 g_mime_content_type_get_parameter(type, "charset"));
        GString *plain = g_mime_content_type_is_type(type, "text", "html")
                                 ? html_text(text, strlen(text))
                                 : NULL;
        GString *safe = g_string_new(NULL);

        g_byte_array_unref(octets);
        page_text(safe, plain ? plain->str : text, plain ? plain->len : strlen(text));
        if (safe->len > 0) {
                separate(v->page);
                g_string_append_len(v->page, safe->str, (gssize) safe->len);
        }
        g_string_free(safe, TRUE);
        if (plain)
                g_string_free(plain, TRUE);
        g_free(text);
}

/* Parts have parts, as many levels of them as DEPTH_MAX says. NOLINTBEGIN(misc-no-recursion) */

static void show_part(struct view *v, GMimeObject *part);

/* Of those that say the same, plain text is read best, if there is any; or else the last one that
 * is understood (RFC 2046 section 5.1.4). */
static int choose(GMimeMultipart *parts) {
        int n = g_mime_multipart_get_count(parts), best = n - 1;

        for (int i = 0; i < n; i++) {
                GMimeObject *part = g_mime_multipart_get_part(parts, i);

                if (GMIME_IS_MULTIPART(part) || is_text(part))
                        best = i;
                if (is_text(part) && size_of(part) > 0 &&
                    g_mime_content_type_is_type(g_mime_object_get_content_type(part), "text",
                                                "plain"))
                        return i;
        }
        return best;
}

static void show_parts(struct view *v, GMimeMultipart *parts) {
        bool is_alternative = g_mime_content_type_is_type(
                g_mime_object_get_content_type(GMIME_OBJECT(parts)), "multipart", "alternative");
        int n = g_mime_multipart_get_count(parts), chosen = is_alternative ? choose(parts) : -1;

        for (int i = 0; i < n; i++) {
                GMimeObject *part = g_mime_multipart_get_part(parts, i);

                if (!is_alternative || i == chosen)
                        show_part(v, part);
                else
                        list_part(v, "Alternative", part);
        }
}

static void show_message(GString *page, GMimeMessage *message, unsigned depth);

static void show_attached(struct view *v, GMimeObject *part) {
        GMimeMessage *message = g_mime_message_part_get_message(GMIME_MESSAGE_PART(part));

        if (!message) {
                list_part(v, "Attachment", part);
                return;
        }
        separate(v->page);
        g_string_append(v->page, "---- attached message ----\n");
        show_message(v->page, message, v->depth + 1);
        g_string_append(v->page, "---- end of attached message ----\n");
}

static void show_part(struct view *v, GMimeObject *part) {
        bool is_shown = ++v->depth <= DEPTH_MAX;

        if (is_shown && GMIME_IS_MULTIPART(part))
                show_parts(v, GMIME_MULTIPART(part));
        else if (is_shown && GMIME_IS_MESSAGE_PART(part))
                show_attached(v, part);
        else if (is_shown && is_text(part))
                show_text(v, part);
        else
                list_part(v, "Attachment", part);
        v->depth--;
}

static void show_message(GString *page, GMimeMessage *message, unsigned depth) {
        struct view v = { .page = page, .list = g_string_new(NULL), .depth = depth };
        GMimeObject *body = g_mime_message_get_mime_part(message);

        show_header(page, GMIME_OBJECT(message));
        if (body)
                show_part(&v, body);
        if (v.list->len > 0) {
                separate(page);
                g_string_append_len(page, v.list->str, (gssize) v.list->len);
        }
        g_string_free(v.list, TRUE);
}

/* NOLINTEND(misc-no-recursion) */

void message_show(GString *page, const char *message, size_t n) {
        GMimeStream *stream = g_mime_stream_mem_new_with_buffer(message, n);
        GMimeParser *parser = g_mime_parser_new_with_stream(stream);
        GMimeMessage *parsed = g_mime_parser_construct_message(parser, NULL);

        if (parsed)
                show_message(page, parsed, 0);
        else {
                char *text = page_decode(message, n, NULL);

                page_text(page, text, strlen(text));
                g_free(text);
        }
        if (parsed)
                g_object_unref(parsed);
        g_object_unref(parser);
        g_object_unref(stream);
}
