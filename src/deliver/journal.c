/* SPDX-License-Identifier: MIT */
/* deliver/journal.c - strategy journal: the message becomes an entry in the systemd journal, by our
 * helper smtpd-journal (helpers/journal.c). */
#include "deliver/hook.h"

static const struct hook_helper helper = {
        .name = "smtpd-journal",
        .strategy = "journal",
        .remedy = "build smtpd with libsystemd-dev and pkg-config installed",
};

static int journal_require(void) {
        return hook_require(&helper);
}

static int journal_open(const struct delivery_context *x, struct delivery **ret) {
        const char *const words[] = { x->config->x_peer ? "--x-peer" : NULL, NULL };

        return hook_open(x->config, &helper, words, ret);
}

const struct delivery_ops journal_ops = {
        .name = "journal",
        .summary = "makes it an entry in the systemd journal",
        .options = "bare-lf-from",
        .needs = hook_needs,
        .require = journal_require,
        .open = journal_open,
        .recipient = hook_recipient,
        .process_message = hook_process_message,
        .reset = hook_reset,
        .close = hook_close,
};
