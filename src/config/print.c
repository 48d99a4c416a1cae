/* SPDX-License-Identifier: MIT */
/* config/print.c - what people read: --help and --check; and what sessions are given. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "config/strategies.h"

static bool has_value(const struct config *c, const struct option *o) {
        return !o->kind->is_set || o->kind->is_set(options_value(o, c));
}

static void print_option(const struct config *c, const struct option *o, FILE *out) {
        fprintf(out, "%s=", o->name);
        o->kind->print(options_value(o, c), out);
        fputc('\n', out);
}

void config_print(const struct config *c, FILE *out) {
        for (const struct option *o = options; o->name; o++) {
                if (!options_is_for_file(o) || !strategies_allow(c, o))
                        continue;
                if (has_value(c, o))
                        print_option(c, o, out);
                else
                        fprintf(out, "#%s=%s (%s)\n", o->name,
                                o->fallback ? o->fallback : o->syntax,
                                o->fallback ? "default" : "not set");
        }
}

void config_print_for_session(const struct config *c, FILE *out) {
        for (const struct option *o = options; o->name; o++)
                if (options_is_for_file(o) && !o->is_for_acceptor && strategies_allow(c, o) &&
                    has_value(c, o))
                        print_option(c, o, out);
}

/* "--name=SYNTAX", "--name[=SYNTAX]" or "--name". */
static void format_usage(const struct option *o, char *out, size_t room) {
        if (!o->syntax)
                text_format(out, room, "--%s", o->name);
        else if (*o->syntax == '[')
                text_format(out, room, "--%s[=%s", o->name, o->syntax + 1);
        else
                text_format(out, room, "--%s=%s", o->name, o->syntax);
}

enum { COLUMNS = 100, INDENT = 31 };

/* Words, from a column on, the next lines indented. */
static void print_wrapped(const char *text, size_t column, FILE *out) {
        for (size_t n; *text; text += n + (text[n] == ' ')) {
                n = strcspn(text, " ");
                if (column + 1 + n > COLUMNS) {
                        fprintf(out, "\n%*s", INDENT - 1, "");
                        column = INDENT - 1;
                }
                fprintf(out, " %.*s", (int) n, text);
                column += 1 + n;
        }
        fputc('\n', out);
}

static void print_help(const struct option *o, const char *strategies, FILE *out) {
        const char *usual = o->initial ? o->initial : o->fallback;
        char usage[64], text[512];
        size_t column;

        format_usage(o, usage, sizeof(usage));
        text_format(text, sizeof(text), "%s%s%s%s%s", o->help,
                    o->kind == &value_strategy ? strategies : "", usual ? " (default: " : "",
                    usual ? usual : "", usual ? ")" : "");
        column = (size_t) fprintf(out, "  %-28s", usage);
        print_wrapped(text, column < INDENT ? column : COLUMNS, out);
}

void config_help(const struct config *c, FILE *out) {
        char names[STRATEGIES_TEXT_MAX];

        strategies_names(c, names);
        for (const struct option *o = options; o->name; o++) {
                if (o->group)
                        fprintf(out, "%s%s:\n\n", o == options ? "" : "\n", o->group);
                print_help(o, names, out);
        }
        fputs("\nStrategies, and what they do with a message:\n\n", out);
        strategies_print(c, out);
}
