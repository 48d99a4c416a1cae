/* SPDX-License-Identifier: MIT */
/* rules.c - what the configuration says to a step of the session before the strategy is asked. */
#include "rules.h"

static bool is_like_text(const struct match_rule *r, const char *text) {
        return match_is_like(text, r->pattern, r->n_pattern);
}

/* As it was written, or as it is meant: another spelling is no way round a rule. */
static bool is_like_address(const struct match_rule *r, const struct address *a) {
        char plain[ADDRESS_MAX + 1];

        if (is_like_text(r, address_is_null(a) ? "<>" : a->text))
                return true;
        if (a->text[0] != '"')
                return false;
        address_plain(a, plain);
        return is_like_text(r, plain);
}

static bool is_like(const struct match_rule *r, const struct subject *s) {
        const struct envelope *e = s->envelope;

        if (s->text)
                return is_like_text(r, s->text);
        if (s->address)
                return is_like_address(r, s->address);
        for (size_t i = 0; i < e->n_addressees; i++)
                if (is_like_address(r, &e->addressees[i].recipient.address))
                        return true;
        return false;
}

/* The first one for this step, from `i` on; the configuration has no text that is none. */
static bool find_step(const struct list *rules, enum match_step step, size_t *i,
                      struct match_rule *ret) {
        for (; *i < rules->n; ++*i)
                if (match_read(rules->items[*i], ret) && ret->step == step)
                        return true;
        return false;
}

static bool find(const struct list *rules, const struct subject *s, struct match_rule *ret) {
        for (size_t i = 0; find_step(rules, s->step, &i, ret); i++)
                if (is_like(ret, s))
                        return true;
        return false;
}

uint64_t rules_delay(const struct config *c, const struct subject *s) {
        struct match_rule rule;
        uint64_t seconds = 0;

        return find(&c->delay, s, &rule) && match_read_seconds(&rule, UINT64_MAX, &seconds)
                       ? seconds
                       : 0;
}

bool rules_reply(const struct config *c, const struct subject *s, struct reply *ret) {
        struct match_rule rule;

        return find(&c->reply, s, &rule) && match_read_reply(&rule, ret);
}

bool rules_match(const struct config *c, const struct subject *s) {
        struct match_rule rule;

        return find(&c->delay, s, &rule) || find(&c->reply, s, &rule);
}

bool rules_exist(const struct config *c, enum match_step step) {
        struct match_rule rule;
        size_t at_delay = 0, at_reply = 0;

        return find_step(&c->delay, step, &at_delay, &rule) ||
               find_step(&c->reply, step, &at_reply, &rule);
}
