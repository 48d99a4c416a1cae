/* SPDX-License-Identifier: MIT */
/* helpers/show_html.c - HTML as text: no parser of the language, but what mail needs of one.
 *
 * A tag begins with "<" and a letter, "/", "!" or "?"; it ends with the next ">" outside of quotes.
 * What is not understood is left out, or stays as it is written.
 */
#include "helpers/show_html.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

#include "base/array.h"
#include "base/ascii.h"
#include "helpers/show_entity.h"

enum { TAG_MAX = 64 * 1024 };

struct page {
        const char *at, *end; /* what is left */
        const char *last;     /* no tag ends after it; NULL: none does */
        GString *out;
        unsigned n_lines;  /* line ends that are due before the next word */
        bool is_blank_due; /* and a blank, if none of them */
        bool is_verbatim;  /* in <pre> */
        size_t link;       /* where the text of a link begins */
        char *target;      /* and where it leads; NULL: in none */
};

/* What a tag does to the text; with the same effect at its end, but for `mark`. */
struct tag {
        const char *name;
        unsigned n_lines; /* line ends around it */
        const char *mark; /* text in its place; NULL: none */
        bool is_skipped;  /* with all up to its end tag */
};

static const struct tag tags[] = {
        { "p", 2 },
        { "div", 1 },
        { "br", 0 },
        { "tr", 1 },
        { "table", 1 },
        { "ul", 1 },
        { "ol", 1 },
        { "dl", 1 },
        { "dt", 1 },
        { "dd", 1 },
        { "h1", 2 },
        { "h2", 2 },
        { "h3", 2 },
        { "h4", 2 },
        { "h5", 2 },
        { "h6", 2 },
        { "blockquote", 2 },
        { "pre", 1 },
        { "section", 1 },
        { "article", 1 },
        { "header", 1 },
        { "footer", 1 },
        { "form", 1 },
        { "center", 1 },
        { "body", 1 },
        { "address", 1 },
        { "li", 1, .mark = "* " },
        { "hr", 1, .mark = "----------" },
        { "td", 0, .mark = "  " },
        { "th", 0, .mark = "  " },
        { "style", .is_skipped = true },
        { "script", .is_skipped = true },
        { "title", .is_skipped = true },
        { "template", .is_skipped = true },
};

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

/* --- what goes out ---------------------------------------------------------------------------- */

static void ask_for_lines(struct page *p, unsigned n) {
        if (p->n_lines < n && p->out->len > 0)
                p->n_lines = n;
}

/* What is due before a word. */
static void settle(struct page *p) {
        if (p->n_lines == 0 && p->is_blank_due && p->out->len > 0)
                g_string_append_c(p->out, ' ');
        for (; p->n_lines > 0; p->n_lines--)
                g_string_append_c(p->out, '\n');
        p->is_blank_due = false;
}

static void put(struct page *p, const char *text, size_t n) {
        settle(p);
        g_string_append_len(p->out, text, (gssize) n);
}

static void put_octet(struct page *p, char c) {
        if (p->is_verbatim || !is_space(c))
                put(p, &c, 1);
        else
                p->is_blank_due = true;
}

/* --- tags ------------------------------------------------------------------------------------- */

/* One that was read: "<a href='x'>" */
struct seen {
        const char *name, *attributes, *end;
        size_t n_name;
        bool is_end;
};

static bool is_named(const struct seen *t, const char *name) {
        return strlen(name) == t->n_name && ascii_is_equal(t->name, name, t->n_name);
}

static const struct tag *find_tag(const struct seen *t) {
        for (size_t i = 0; i < ELEMENTS(tags); i++)
                if (is_named(t, tags[i].name))
                        return tags + i;
        return NULL;
}

/* The value of an attribute, decoded, or NULL. */
static char *attribute(const struct seen *t, const char *name) {
        size_t n = strlen(name), n_value;

        for (const char *p = t->attributes; p + n + 1 < t->end; p++) {
                const char *value = p + n + 1;
                char quote = *value;

                if (!is_space(p[-1]) || p[n] != '=' || !ascii_is_equal(p, name, n))
                        continue;
                if (quote != '"' && quote != '\'')
                        for (n_value = 0; value + n_value < t->end && !is_space(value[n_value]);)
                                n_value++;
                else {
                        const char *close;

                        value++;
                        close = memchr(value, quote, (size_t) (t->end - value));
                        n_value = (size_t) ((close ? close : t->end) - value);
                }
                return entity_decode(value, n_value);
        }
        return NULL;
}

/* "text <target>", unless the text is the target. */
static void end_link(struct page *p) {
        const char *text = p->target ? p->out->str + p->link : "", *target = p->target;

        if (target && !strstr(text, target) && (strchr(target, ':') || *target == '/')) {
                if (strncmp(target, "mailto:", 7) != 0 || !strstr(text, target + 7)) {
                        p->is_blank_due = true;
                        put(p, "<", 1);
                        g_string_append_printf(p->out, "%s>", target);
                }
        }
        g_free(p->target);
        p->target = NULL;
}

static void begin_link(struct page *p, const struct seen *t) {
        p->target = attribute(t, "href");
        p->link = p->out->len;
}

static void put_image(struct page *p, const struct seen *t) {
        char *text = attribute(t, "alt");

        if (text && *text) {
                put(p, "[", 1);
                g_string_append_printf(p->out, "%s]", text);
        }
        g_free(text);
}

/* To after its end tag, or to the end of the page. */
static void skip(struct page *p, const char *name) {
        size_t n = strlen(name);

        for (const char *at = p->at; (at = memchr(at, '<', (size_t) (p->end - at))); at++)
                if ((size_t) (p->end - at) > n + 2 && at[1] == '/' &&
                    ascii_is_equal(at + 2, name, n) && !ascii_is_alnum(at[2 + n])) {
                        at = memchr(at, '>', (size_t) (p->end - at));
                        p->at = at ? at + 1 : p->end;
                        return;
                }
        p->at = p->end;
}

static void take_tag(struct page *p, const struct seen *t) {
        const struct tag *tag = find_tag(t);

        if (is_named(t, "a"))
                end_link(p);
        if (is_named(t, "a") && !t->is_end)
                begin_link(p, t);
        if (is_named(t, "img"))
                put_image(p, t);
        if (is_named(t, "br") && !p->is_verbatim)
                p->n_lines += p->n_lines < 2 && p->out->len > 0;
        if (is_named(t, "pre"))
                p->is_verbatim = !t->is_end;
        if (!tag)
                return;
        ask_for_lines(p, tag->n_lines);
        if (tag->mark && !t->is_end)
                put(p, tag->mark, strlen(tag->mark));
        if (tag->is_skipped && !t->is_end)
                skip(p, tag->name);
}

/* The end of a tag: the next ">" outside of quotes, or just the next one. NULL: there is none. */
static const char *find_end(const struct page *page, const char *at) {
        const char *end = page->end;
        char quote = '\0';

        if (!page->last || at > page->last) /* so that many tags without an end take no time */
                return NULL;
        if (end - at > TAG_MAX) /* so that many quotes without an end take no time */
                end = at + TAG_MAX;
        for (const char *p = at; p < end; p++)
                if (quote == *p)
                        quote = '\0';
                else if (!quote && (*p == '"' || *p == '\'') && p[-1] == '=')
                        quote = *p;
                else if (!quote && *p == '>')
                        return p;
        return memchr(at, '>', (size_t) (end - at));
}

static const char *find_text(const char *at, const char *end, const char *text) {
        return memmem(at, (size_t) (end - at), text, strlen(text));
}

/* At a "<". Returns false if it is none of a tag. */
static bool read_tag(struct page *p) {
        struct seen t = { .name = p->at + 1 };
        const char *close;

        if (t.name == p->end)
                return false;
        if (*t.name == '!' || *t.name == '?') {
                bool is_comment = p->end - t.name > 3 && memcmp(t.name, "!--", 3) == 0;

                close = is_comment ? find_text(t.name + 3, p->end, "-->")
                                   : memchr(t.name, '>', (size_t) (p->end - t.name));
                p->at = !close ? p->end : close + (is_comment ? 3 : 1);
                return true;
        }
        t.is_end = *t.name == '/';
        t.name += t.is_end;
        while (t.name + t.n_name < p->end && ascii_is_alnum(t.name[t.n_name]))
                t.n_name++;
        if (t.n_name == 0 || !(t.end = find_end(p, t.name + t.n_name)))
                return false;
        t.attributes = t.name + t.n_name;
        p->at = t.end + 1;
        take_tag(p, &t);
        return true;
}

/* --- the page --------------------------------------------------------------------------------- */

static bool take_entity(struct page *p) {
        char text[ENTITY_MAX];
        size_t n = entity_read(p->at, (size_t) (p->end - p->at), text);

        if (n == 0)
                return false;
        p->at += n;
        put(p, text, strlen(text));
        return true;
}

GString *html_text(const char *html, size_t n) {
        struct page p = { .at = html,
                          .end = html + n,
                          .last = memrchr(html, '>', n),
                          .out = g_string_new(NULL) };

        while (p.at < p.end) {
                if (*p.at == '<' && read_tag(&p))
                        continue;
                if (*p.at == '&' && take_entity(&p))
                        continue;
                put_octet(&p, *p.at++);
        }
        end_link(&p);
        return p.out;
}
