/* SPDX-License-Identifier: MIT */
/* strategies.c - a table with further rows: the template, and what has to be refused. */
#include "deliver/delivery.h"

extern const struct delivery_ops print_ops, journal_ops, tally_ops;

static int open_nothing(const struct delivery_context *x, struct delivery **ret) {
        (void) x;
        *ret = NULL;
        return 0;
}

static void process_nothing(struct delivery *d, struct envelope *e, struct message *m) {
        (void) d;
        (void) e;
        (void) m;
}

static bool put_nothing(struct delivery *d, const struct envelope *e, struct addressee *a) {
        (void) d;
        (void) e;
        (void) a;
        return false;
}

/* Each lacks the field that it is named after. */
static const struct delivery_ops no_open = {
        .name = "no-open",
        .process_message = process_nothing,
};

static const struct delivery_ops no_process_message = {
        .name = "no-process_message",
        .open = open_nothing,
};

static const struct delivery_ops no_collect = {
        .name = "no-collect",
        .open = open_nothing,
        .put = put_nothing,
        .process_message = process_nothing,
};

/* It says all that it must, but nothing of the message. */
static const struct delivery_ops silent = {
        .name = "silent",
        .open = open_nothing,
        .process_message = process_nothing,
};

const struct delivery_ops *const delivery_strategies[] = {
        &print_ops, &journal_ops, /* the defaults */
        &tally_ops, &no_open,     &no_process_message, &no_collect, &silent, NULL,
};
