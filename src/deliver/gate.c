/* SPDX-License-Identifier: MIT */
/* deliver/gate.c - filter=: asks a program before any destination has the message. */
#include "deliver/gate.h"

#include <errno.h>
#include <stdlib.h>

#include "deliver/program.h"

int gate_open(struct gate *g, const struct config *c) {
        if (!c->filter)
                return 0;
        environment_measure();
        g->timeout = c->timeout;
        g->argv = calloc(program_count_words(c->filter) + 1, sizeof(*g->argv));
        g->fields = malloc(sizeof(*g->fields));
        if (!g->argv || !g->fields)
                return -ENOMEM;
        program_make_argv(c->filter, g->argv, g->program);
        return 0;
}

void gate_close(struct gate *g) {
        free(g->argv);
        free(g->fields);
}

void gate_needs(const struct gate *g, struct services *ret) {
        ret->program = g->argv;
        ret->is_filter = true;
}

bool gate_reserve(struct gate *g, const struct recipient *r, struct reply *ret_verdict) {
        return !g->argv || environment_reserve(&g->room, r, ret_verdict);
}

bool gate_ask(struct gate *g, struct envelope *e, struct message *m) {
        struct program filter;
        struct reply verdict;

        if (!g->argv)
                return true;
        filter = (struct program) { .name = g->argv[0],
                                    .request.index = REQUEST_PROGRAM,
                                    .timeout = g->timeout,
                                    .by = REPLY_BY_FILTER,
                                    .fields = g->fields };
        program_ask(&filter, e, m, &verdict);
        if (!reply_is_positive(&verdict)) {
                delivery_verdict(e, &verdict);
                return false;
        }
        m->added = g->fields;
        return true;
}

void gate_reset(struct gate *g) {
        g->room = (struct environment_room) { 0 };
}
