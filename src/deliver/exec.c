/* SPDX-License-Identifier: MIT */
/* deliver/exec.c - strategy exec: the user's program decides what becomes of the message. */
#include <assert.h>

#include "deliver/hook.h"
#include "deliver/program.h"

static int exec_open(const struct delivery_context *x, struct delivery **ret) {
        const struct config *c = x->config;
        size_t n = program_count_words(c->command);
        int r;

        assert(n > 0);
        if ((r = hook_new(c, n, ret)) < 0)
                return r;
        program_make_argv(c->command, (*ret)->argv, (*ret)->program);
        return 0;
}

static const char *exec_check(const struct config *c, const char **ret_option) {
        (void) ret_option;
        return c->command ? NULL : "strategy=exec needs command=PROGRAM [ARG...]";
}

const struct delivery_ops exec_ops = {
        .name = "exec",
        .summary = "runs your program, which decides: smtpd-exec(7)",
        .options = "command bare-lf-from",
        .check = exec_check,
        .needs = hook_needs,
        .open = exec_open,
        .recipient = hook_recipient,
        .process_message = hook_process_message,
        .reset = hook_reset,
        .close = hook_close,
};
