/* SPDX-License-Identifier: MIT */
/* config/read.c - fills a struct config from the command line and the file, and finds conflicts. */
#include "config/read.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/utsname.h>
#include <sysexits.h>

#include "base/text.h"
#include "config/auth.h"
#include "config/strategies.h"
#include "config/upstream.h"

void read_complain(struct reading *r, struct place place, const char *format, ...) {
        char what[512], where[512] = "command line";
        va_list ap;

        va_start(ap, format);
        text_format_list(what, sizeof(what), format, ap);
        va_end(ap);
        if (place.file && place.line > 0)
                text_format(where, sizeof(where), "%.480s:%u", place.file, place.line);
        else if (place.file)
                text_format(where, sizeof(where), "%.480s", place.file);
        r->complain(where, what);
        *(place.file ? &r->n_in_files : &r->n_in_arguments) += 1;
}

void read_complain_unknown(struct reading *r, struct place place, const char *dashes,
                           const char *name, size_t n) {
        const struct option *o = options_nearest(name, n);

        read_complain(r, place, "%s%.*s: unknown option;%s%s%s --help lists them", dashes,
                      (int) (n < 200 ? n : 200), name, o ? " is it " : "", o ? o->name : "",
                      o ? "?" : "");
}

/* --- a value ---------------------------------------------------------------------------------- */

/* Whether what the option has so far comes from elsewhere: a default, or the other one of file and
 * command line. */
static bool is_from_elsewhere(const struct reading *r, const struct option *o, struct place place) {
        size_t i = (size_t) (o - options);

        return !r->is_given[i] || (r->given[i].file == NULL) != (place.file == NULL);
}

/* What a line of the file can hold. */
static bool is_text(const char *value) {
        size_t n = strlen(value);

        for (const char *p = value; *p; p++)
                if (((unsigned char) *p < ' ' && *p != '\t') || *p == 0x7f)
                        return false;
        return n == 0 || !(read_is_blank(value[0]) || read_is_blank(value[n - 1]));
}

/* Whether a comment seems to follow the value: a # after a blank, and not in quotes if these group
 * words. */
static bool has_comment(const struct option *o, const char *value) {
        char quote = '\0';

        for (const char *p = value; *p; p++)
                if (quote == *p)
                        quote = '\0';
                else if (!quote && o->kind->has_quotes && (*p == '"' || *p == '\''))
                        quote = *p;
                else if (!quote && *p == '#' && p > value && read_is_blank(p[-1]))
                        return true;
        return false;
}

/* What to use in place of a value of this form, whatever the option; NULL if nothing is wrong with
 * it. Quotes and comments that have no meaning would become part of the value. */
static const char *expected_form(const struct option *o, const char *value) {
        if (!is_text(value))
                return "text without control characters and without blanks at either end";
        if (!o->kind->has_quotes && (*value == '"' || *value == '\''))
                return "the value without quotes";
        if (has_comment(o, value))
                return o->kind->has_quotes ? "a line of its own for a comment, or quotes around a "
                                             "word that begins with #"
                                           : "a line of its own for a comment";
        return NULL;
}

/* Says what the value should have been. */
static void complain_of_value(struct reading *r, const struct option *o, const char *value,
                              struct place place) {
        char names[STRATEGIES_TEXT_MAX];
        const char *expected = o->kind->expected;

        if (!expected)
                strategies_names(r->config, names);
        if (o->max > 0 && o->kind != &value_size) /* whose bound has 19 digits */
                read_complain(r, place, "%s=%.200s: use %s between %llu and %llu", o->name, value,
                              expected, (unsigned long long) o->min, (unsigned long long) o->max);
        else
                read_complain(r, place, "%s=%.200s: use %s", o->name, value,
                              expected ? expected : names);
}

void read_value(struct reading *r, const struct option *o, const char *value, struct place place) {
        void *field = options_field(o, r->config);
        const char *expected = expected_form(o, value);

        if (expected) {
                read_complain(r, place, "%s=%.200s: use %s", o->name, value, expected);
                return;
        }
        if (o->kind->is_list && is_from_elsewhere(r, o, place))
                o->kind->clear(field);
        errno = 0;
        if (o->kind->parse(o, value, field)) {
                r->given[o - options] = place;
                r->is_given[o - options] = true;
        } else if (errno == ENOMEM)
                read_complain(r, place, "%s: out of memory", o->name);
        else
                complain_of_value(r, o, value, place);
}

/* --- all together ----------------------------------------------------------------------------- */

static size_t index_of(const char *name) {
        return (size_t) (options_find(name, strlen(name)) - options);
}

struct place read_place(const struct reading *r, const char *name) {
        return r->given[index_of(name)];
}

/* The strategy has the word on its options. */
static void check_together(struct reading *r) {
        const struct config *c = r->config;
        const char *option, *complaint = strategies_check(c, &option);
        char others[STRATEGIES_TEXT_MAX];

        if (complaint)
                read_complain(r, read_place(r, option), "%s", complaint);
        for (const struct option *o = options; o->name; o++)
                if (r->is_given[o - options] && !strategies_allow(c, o)) {
                        strategies_having(c, o, others);
                        read_complain(r, r->given[o - options],
                                      "%s makes no sense with strategy=%s: it is for %s", o->name,
                                      strategies_in_use(c), others);
                }
}

static void set_defaults(struct config *c) {
        struct utsname system;

        *c = (struct config) { .strategies = c->strategies,
                               .strategy = c->strategy,
                               .is_reload = c->is_reload };
        for (const struct option *o = options; o->name; o++)
                if (o->initial)
                        o->kind->parse(o, o->initial, options_field(o, c));
        if (uname(&system) < 0 || !value_hostname.parse(NULL, system.nodename, c->hostname))
                strcpy(c->hostname, "localhost");
}

static int exit_status(const struct reading *r) {
        return r->n_in_arguments > 0 ? EX_USAGE : r->n_in_files > 0 ? EX_CONFIG : 0;
}

int config_load(int argc, char **argv, struct config *c, config_complaint *complain) {
        struct reading r = { .config = c, .complain = complain };

        set_defaults(c);
        read_arguments(&r, argc, argv, PASS_BEFORE_FILE);
        if (c->file)
                read_file(&r, c->file, true);
        else if ((!r.is_listening || r.is_public) && read_file(&r, DEFAULT_CONFIG, false))
                c->file = DEFAULT_CONFIG;
        read_arguments(&r, argc, argv, PASS_AFTER_FILE);
        c->is_strategy_given = r.is_given[index_of("strategy")];
        c->count_place = read_place(&r, "count");
        c->tls_certificate_place = read_place(&r, "tls-certificate");
        if (c->strategy && !r.is_incomplete)
                check_together(&r);
        if (c->strategy && !r.is_incomplete)
                auth_check(&r);
        tls_settle(&r);
        upstream_settle(&r);
        return exit_status(&r);
}

int config_check_single(const struct config *c, config_complaint *complain) {
        struct reading r = { .complain = complain };

        if (c->count > 0)
                read_complain(&r, c->count_place,
                              "count=%llu is only for accepting connections: use --listen, or "
                              "remove it",
                              (unsigned long long) c->count);
        if (c->tls > TLS_NO && config_is_self_signed(c))
                read_complain(&r, c->tls_certificate_place,
                              "tls-certificate=" TLS_SELF_SIGNED
                              " is for --listen: it is made when that starts; for a single session "
                              "name a file");
        return exit_status(&r);
}

void config_free(struct config *c) {
        for (const struct option *o = options; o->name; o++)
                if (o->kind->clear)
                        o->kind->clear(options_field(o, c));
}
