/* SPDX-License-Identifier: MIT */
/* deliver/strategies.c - the table of strategies: a new one is a row here. */
#include "deliver/delivery.h"

extern const struct delivery_ops print_ops, show_ops, journal_ops, maildir_ops, exec_ops, proxy_ops,
        mailman_ops;

const struct delivery_ops *const delivery_strategies[] = {
        &print_ops, &show_ops,  &journal_ops, &maildir_ops,
        &exec_ops,  &proxy_ops, &mailman_ops, NULL,
};
