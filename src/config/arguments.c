/* SPDX-License-Identifier: MIT */
/* config/arguments.c - the command line: --name=value or --name value. */
#include <string.h>

#include "config/read.h"
#include "io/listen.h"

static bool is_value_fitting(const struct option *o, bool has_value) {
        return o->syntax ? has_value || *o->syntax == '[' : !has_value;
}

/* Of the short options there are. */
static const char *long_form(const char *argument) {
        if (strcmp(argument, "-h") == 0)
                return "--help";
        return strcmp(argument, "-V") == 0 ? "--version" : argument;
}

/* Whoever listens on loopback, and says so on the command line, is trying something out: not with
 * the system's file. */
static void note_listen(struct reading *r, const char *value) {
        struct list list = { NULL, 0 };

        r->is_listening = true;
        r->is_public |= !value_parse_list(value, &list, listen_is_loopback);
        value_listen.clear(&list);
}

/* A word without an option's name. A port or an address is where somebody wants us to listen; a
 * path may as well be a file's. */
static void complain_of_word(struct reading *r, const char *word) {
        const struct place here = { NULL, 0 };
        struct list list = { NULL, 0 };
        bool is_address = *word != '/' && value_listen.parse(NULL, word, &list);

        value_listen.clear(&list);
        read_complain(
                r, here,
                "%.200s: options are written --name=value or --name value%s%.200s; see --help",
                word, is_address ? ", such as --listen=" : "", is_address ? word : "");
}

/* Takes --name, --name=value or --name value, and returns how many arguments that are. */
static int take_argument(struct reading *r, char **argv, enum pass pass) {
        const struct place here = { NULL, 0 };
        const char *argument = long_form(*argv), *name = argument + 2, *equals, *value;
        const struct option *o;
        int n = 1;

        if (strncmp(argument, "--", 2) != 0 || name[0] == '\0') {
                if (pass == PASS_BEFORE_FILE && strcmp(argument, "-bs") != 0) /* of sendmail's */
                        complain_of_word(r, argument);
                return n;
        }
        equals = strchrnul(name, '=');
        value = *equals ? equals + 1 : NULL;
        o = options_find(name, (size_t) (equals - name));
        if (!value && !(o && is_value_fitting(o, false)) && argv[1] &&
            strncmp(argv[1], "--", 2) != 0)
                value = argv[n++];
        if (pass == PASS_BEFORE_FILE && o && o->kind == &value_listen && value)
                note_listen(r, value);
        if (o && options_is_for_file(o) != (pass == PASS_AFTER_FILE))
                return n;
        if (o && is_value_fitting(o, value))
                read_value(r, o, value ? value : "", here);
        else if (o && o->syntax)
                read_complain(r, here, "--%s needs a value: write --%s=%s", o->name, o->name,
                              o->syntax);
        else if (o)
                read_complain(r, here, "--%s takes no value", o->name);
        else if (pass == PASS_BEFORE_FILE)
                read_complain_unknown(r, here, "--", name, (size_t) (equals - name));
        return n;
}

void read_arguments(struct reading *r, int argc, char **argv, enum pass pass) {
        for (int i = 1; i < argc && argv[i];)
                i += take_argument(r, argv + i, pass);
}
