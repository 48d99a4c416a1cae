/* SPDX-License-Identifier: MIT */
/* transcripts/transcript.c - reads transcript files. README.md describes the format. */
#include "transcript.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grow(void *array, size_t n, size_t size) {
        if ((n & (n - 1)) != 0)
                return array;
        array = realloc(array, (n ? 2 * n : 1) * size);
        if (!array)
                abort();
        return array;
}

static bool take_prefix(const char **s, const char *prefix) {
        size_t n = strlen(prefix);

        if (strncmp(*s, prefix, n) != 0)
                return false;
        *s += n;
        return true;
}

/* --- escapes ---------------------------------------------------------------------------------- */

static bool unescape(const char *s, size_t n, struct text *ret);

/* "N*text}" after "\{"; returns the octets it takes, 0 for a mistake. */
static size_t unescape_run(const char *s, size_t n, struct text *ret) {
        const char *end = memchr(s, '}', n);
        char *star;
        unsigned long times = strtoul(s, &star, 10);
        struct text piece = { 0 };

        if (!end || star == s || star > end || *star != '*')
                return 0;
        if (!unescape(star + 1, (size_t) (end - star) - 1, &piece))
                return 0;
        while (times-- > 0)
                text_add(ret, piece.data, piece.n);
        text_clear(&piece);
        return (size_t) (end - s) + 1;
}

/* What stands after a backslash; returns the octets it takes, 0 for a mistake. */
static size_t unescape_one(const char *s, size_t n, struct text *ret) {
        static const char names[] = "rn0t\\", octets[] = "\r\n\0\t\\";
        const char *name = n > 0 && *s ? strchr(names, *s) : NULL;
        unsigned octet;
        size_t taken;

        if (name) {
                text_add(ret, octets + (name - names), 1);
                return 1;
        }
        if (n >= 3 && *s == 'x' && sscanf(s + 1, "%2x", &octet) == 1) {
                text_add(ret, &(char) { (char) octet }, 1);
                return 3;
        }
        if (n > 0 && *s == '{' && (taken = unescape_run(s + 1, n - 1, ret)) > 0)
                return 1 + taken;
        return 0;
}

static bool unescape(const char *s, size_t n, struct text *ret) {
        for (size_t at = 0; at < n;) {
                const char *slash = memchr(s + at, '\\', n - at);
                size_t plain = slash ? (size_t) (slash - s) - at : n - at, taken;

                text_add(ret, s + at, plain);
                at += plain;
                if (!slash)
                        break;
                taken = unescape_one(s + at + 1, n - at - 1, ret);
                if (taken == 0)
                        return false;
                at += 1 + taken;
        }
        return true;
}

/* --- what a session is like ------------------------------------------------------------------- */

static bool take_option(struct session *s, const char *option) {
        struct server_rules *r = &s->rules;
        const struct {
                const char *name;
                unsigned *number;
        } numbers[] = {
                { "max-recipients=", &r->max_recipients },
                { "max-commands=", &r->max_commands },
                { "max-errors=", &r->max_errors },
        };

        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
                if (take_prefix(&option, numbers[i].name)) {
                        *numbers[i].number = (unsigned) strtoul(option, NULL, 10);
                        return true;
                }
        if (take_prefix(&option, "max-size="))
                r->max_size = strtoull(option, NULL, 10);
        else if (take_prefix(&option, "protocol="))
                r->is_lmtp = strcmp(option, "lmtp") == 0;
        else if (take_prefix(&option, "tls="))
                r->tls = strcmp(option, "required") == 0 ? SERVER_TLS_REQUIRED : SERVER_TLS_OFFERED;
        else if (take_prefix(&option, "auth=")) {
                r->auth = strcmp(option, "protected") == 0 ? SERVER_AUTH_NEEDS_TLS
                                                           : SERVER_AUTH_ALLOWED;
                s->mechanisms =
                        strcmp(option, "any") == 0 ? LOGIN_MECHANISMS : "PLAIN LOGIN SCRAM-SHA-256";
        } else if (take_prefix(&option, "hostname="))
                snprintf(s->hostname, sizeof(s->hostname), "%s", option);
        else if (take_prefix(&option, "qualify="))
                snprintf(s->qualify, sizeof(s->qualify), "%s", option);
        else if (strcmp(option, "needs-domain") == 0)
                r->needs_domain = true;
        else if (strcmp(option, "lf") == 0)
                r->lf_is_line_end = true;
        else
                return false;
        return true;
}

static void take_offer(struct session *s, const char *extensions) {
        s->offer = strstr(extensions, "8BITMIME") ? EXTENSION_8BITMIME : 0;
        s->offer |= strstr(extensions, "SMTPUTF8") ? EXTENSION_SMTPUTF8 : 0;
        s->offer |= strstr(extensions, "ENHANCEDSTATUSCODES") ? EXTENSION_ENHANCEDSTATUSCODES : 0;
        s->offer |= strstr(extensions, "DSN") ? EXTENSION_DSN : 0;
        s->offer |= strstr(extensions, "PRDR") ? EXTENSION_PRDR : 0;
}

/* "EHLO extensions", or "VERB [<address>] reply" */
static bool take_answer(struct session *s, const char *text) {
        static const struct {
                const char *verb;
                enum event_kind question;
        } verbs[] = {
                { "MAIL ", SERVER_SENDER }, { "RCPT ", SERVER_RECIPIENT }, { "DATA ", SERVER_DATA },
                { "END ", SERVER_END },     { "STARTTLS ", SERVER_TLS },   { "AUTH ", SERVER_AUTH },
        };
        struct answer a = { .question = SERVER_HELLO };
        const char *end;

        if (take_prefix(&text, "EHLO")) {
                take_offer(s, text);
                return true;
        }
        for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]) && a.question == SERVER_HELLO; i++)
                if (take_prefix(&text, verbs[i].verb))
                        a.question = verbs[i].question;
        if (*text == '<' && (end = strstr(text, "> ")) && end - text <= ADDRESS_MAX) {
                memcpy(a.address, text + 1, (size_t) (end - text) - 1);
                text = end + 2;
        }
        if (a.question == SERVER_HELLO || !reply_parse_line(text, strlen(text), &a.reply))
                return false;
        s->answers = grow(s->answers, s->n_answers, sizeof(a));
        s->answers[s->n_answers++] = a;
        return true;
}

/* --- what is said ----------------------------------------------------------------------------- */

/* The item that a line of this kind goes to: the last one if lines of the kind are put together, or
 * a new one. */
static struct item *get_item(struct session *s, enum item_kind kind, bool together, unsigned line) {
        if (together && s->n_items > 0 && s->items[s->n_items - 1].kind == kind)
                return s->items + s->n_items - 1;
        s->items = grow(s->items, s->n_items, sizeof(*s->items));
        s->items[s->n_items] = (struct item) { .kind = kind, .line = line };
        return s->items + s->n_items++;
}

static bool take_octets(struct text *t, const char *text, const char *line_end) {
        if (*text == ' ')
                text++;
        if (!unescape(text, strlen(text), t))
                return false;
        text_add(t, line_end, strlen(line_end));
        return true;
}

static bool take_path(struct text *t, const char *mark, const char *text) {
        text_add(t, mark, strlen(mark));
        return take_octets(t, *text == ' ' ? text + 1 : text, "\n");
}

static bool take_line(struct session *s, const char *text, unsigned line) {
        const char *line_end = s->rules.lf_is_line_end ? "\n" : "\r\n";

        if (take_prefix(&text, "! "))
                return take_option(s, text);
        if (take_prefix(&text, "? "))
                return take_answer(s, text);
        if (take_prefix(&text, "C:"))
                return take_octets(&get_item(s, ITEM_CLIENT, true, line)->text, text, line_end);
        if (take_prefix(&text, "C-"))
                return take_octets(&get_item(s, ITEM_CLIENT, true, line)->text, text, "");
        if (take_prefix(&text, "S:"))
                return take_octets(&get_item(s, ITEM_SERVER, false, line)->text, text, "");
        if (take_prefix(&text, "D!"))
                return take_path(&get_item(s, ITEM_MESSAGE, false, line)->envelope, "! ", text);
        if (take_prefix(&text, "D>"))
                return take_path(&get_item(s, ITEM_MESSAGE, true, line)->envelope, "> ", text);
        if (take_prefix(&text, "D:"))
                return take_octets(&get_item(s, ITEM_MESSAGE, true, line)->text, text, "\n");
        if (take_prefix(&text, "X:"))
                return get_item(s, ITEM_CLOSE, false, line);
        return *text == '\0' || *text == '#';
}

static struct session *add_session(struct transcript *t, const char *path, unsigned line,
                                   const char *title) {
        const char *slash = strrchr(path, '/');
        struct session *s;

        t->sessions = grow(t->sessions, t->n, sizeof(*t->sessions));
        s = t->sessions + t->n++;
        *s = (struct session) {
                .hostname = "mx.example.com",
                .offer = EXTENSIONS_LOCAL,
                .rules = { .extensions = EXTENSIONS_LOCAL,
                           .max_size = 32 << 20,
                           .max_recipients = 100,
                           .max_commands = 1000,
                           .max_errors = 20 },
        };
        snprintf(s->name, sizeof(s->name), "%s:%u %s", slash ? slash + 1 : path, line, title);
        return s;
}

bool transcript_read(const char *path, struct transcript *ret) {
        FILE *f = fopen(path, "re");
        struct session *s = NULL;
        char *line = NULL;
        size_t size = 0;
        bool is_good = f;

        *ret = (struct transcript) { 0 };
        for (unsigned n = 1; is_good && getline(&line, &size, f) >= 0; n++) {
                const char *text = line;

                line[strcspn(line, "\n")] = '\0';
                if (take_prefix(&text, "== "))
                        s = add_session(ret, path, n, text);
                else if (s ? !take_line(s, text, n) : *text && *text != '#') {
                        fprintf(stderr, "%s:%u: what does this mean: %s\n", path, n, line);
                        is_good = false;
                }
        }
        if (!f)
                perror(path);
        else
                fclose(f);
        free(line);
        return is_good;
}

void transcript_clear(struct transcript *t) {
        for (struct session *s = t->sessions; s < t->sessions + t->n; s++) {
                for (size_t i = 0; i < s->n_items; i++) {
                        text_clear(&s->items[i].text);
                        text_clear(&s->items[i].envelope);
                }
                free(s->items);
                free(s->answers);
        }
        free(t->sessions);
}
