/* SPDX-License-Identifier: MIT */
/* config/rules.c - the values of "reply" and "delay": one rule each (smtp/match.h). */
#include <stdlib.h>
#include <string.h>

#include "config/options.h"
#include "smtp/match.h"

static bool is_reply_rule(const char *text) {
        struct match_rule rule;
        struct reply reply;

        return match_read(text, &rule) && match_read_reply(&rule, &reply);
}

static bool is_delay_rule(const char *text, uint64_t max) {
        struct match_rule rule;
        uint64_t seconds;

        return match_read(text, &rule) && match_read_seconds(&rule, max, &seconds);
}

static bool add_rule(struct list *list, const char *text) {
        char *item = strdup(text);

        if (item && value_add_to_list(list, item))
                return true;
        free(item);
        return false;
}

static bool parse_reply(const struct option *o, const char *value, void *field) {
        (void) o;
        return is_reply_rule(value) && add_rule(field, value);
}

static bool parse_delay(const struct option *o, const char *value, void *field) {
        return is_delay_rule(value, o->max) && add_rule(field, value);
}

/* A rule has commas of its own: each is a line. */
static void print_rules(const struct list *list, const char *between, FILE *out) {
        for (size_t i = 0; i < list->n; i++)
                fprintf(out, "%s%s", i > 0 ? between : "", list->items[i]);
}

static void print_replies(const void *field, FILE *out) {
        print_rules(field, "\nreply=", out);
}

static void print_delays(const void *field, FILE *out) {
        print_rules(field, "\ndelay=", out);
}

#define STEPS "a STEP of connect, helo, mail, rcpt, data, message"

const struct kind value_reply_rules = {
        .parse = parse_reply,
        .print = print_replies,
        .is_set = value_is_list_set,
        .clear = value_clear_list,
        .is_list = true,
        .expected =
                "STEP PATTERN NNN [x.y.z] TEXT, with " STEPS ", NNN of 4xx or 5xx, x.y.z of the "
                "same class, and TEXT in ASCII; at most 504 octets from NNN on, with single blanks "
                "before TEXT",
};
const struct kind value_delay_rules = {
        .parse = parse_delay,
        .print = print_delays,
        .is_set = value_is_list_set,
        .clear = value_clear_list,
        .is_list = true,
        .expected = "STEP PATTERN SECONDS, with " STEPS ", and SECONDS",
};
