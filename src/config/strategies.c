/* SPDX-License-Identifier: MIT */
/* config/strategies.c - the strategies that there are, and which options each has. */
#include "config/strategies.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "deliver/delivery.h"

static bool has_option(const struct delivery_ops *strategy, const char *name) {
        const char *list = strategy->options;
        size_t n = strlen(name);

        for (const char *p = list ? strstr(list, name) : NULL; p; p = strstr(p + 1, name))
                if ((p == list || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
                        return true;
        return false;
}

void strategies_names(const struct config *c, char ret[STRATEGIES_TEXT_MAX]) {
        size_t n = 0;

        *ret = '\0';
        for (const struct delivery_ops *const *s = c->strategies; *s; s++)
                n += text_format(ret + n, STRATEGIES_TEXT_MAX - n, "%s%s",
                                 s == c->strategies ? ""
                                 : s[1]             ? ", "
                                                    : " or ",
                                 (*s)->name);
}

void strategies_print(const struct config *c, FILE *out) {
        for (const struct delivery_ops *const *s = c->strategies; *s; s++)
                fprintf(out, "  %-28s %s\n", (*s)->name, (*s)->summary);
}

const char *strategies_in_use(const struct config *c) {
        return c->strategy->name;
}

void strategies_having(const struct config *c, const struct option *o,
                       char ret[STRATEGIES_TEXT_MAX]) {
        size_t n = 0;

        *ret = '\0';
        for (const struct delivery_ops *const *s = c->strategies; *s; s++)
                if (has_option(*s, o->name))
                        n += text_format(ret + n, STRATEGIES_TEXT_MAX - n, "%s%s",
                                         n > 0 ? ", " : "", (*s)->name);
}

bool strategies_allow(const struct config *c, const struct option *o) {
        char others[STRATEGIES_TEXT_MAX];

        if (has_option(c->strategy, o->name))
                return true;
        strategies_having(c, o, others);
        return *others == '\0';
}

bool strategies_has_judge(const struct config *c) {
        return c->strategy->authenticate;
}

const char *strategies_check(const struct config *c, const char **ret_option) {
        *ret_option = "strategy";
        return c->strategy->check ? c->strategy->check(c, ret_option) : NULL;
}

/* --- the value of "strategy" ------------------------------------------------------------------ */

static bool parse_strategy(const struct option *o, const char *value, void *field) {
        const struct config *c = (const struct config *) ((const char *) field - o->field);
        const struct delivery_ops *const *s = c->strategies;

        while (*s && strcmp((*s)->name, value) != 0)
                s++;
        return (*(const struct delivery_ops **) field = *s) != NULL;
}

static void print_strategy(const void *field, FILE *out) {
        fputs((*(const struct delivery_ops *const *) field)->name, out);
}

const struct kind value_strategy = { parse_strategy, print_strategy };
