/* config/print.c - what people read: --help and --check; and what sessions are given. */
#include <stdio.h>

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

void config_help(const struct config *c, FILE *out) {
        char usage[64], names[STRATEGIES_TEXT_MAX];

        strategies_names(c, names);
        for (const struct option *o = options; o->name; o++) {
                const char *usual = o->initial ? o->initial : o->fallback;

                format_usage(o, usage, sizeof(usage));
                fprintf(out, "  %-28s %s%s", usage, o->help,
                        o->kind == &value_strategy ? names : "");
                if (usual)
                        fprintf(out, " (default: %s)", usual);
                fputc('\n', out);
        }
        fputs("\nStrategies, and what becomes of a message:\n\n", out);
        strategies_print(c, out);
}
