/* deliver/exec.c - strategy exec: the user's program decides what becomes of the message. */
#include <assert.h>
#include <string.h>

#include "deliver/hook.h"

/* The program runs in /, but its name is relative to where we are. */
static int exec_open(const struct delivery_context *x, struct delivery **ret) {
        const struct config *c = x->config;
        size_t n = 0;
        int r;

        while (c->command[n])
                n++;
        assert(n > 0);
        if ((r = hook_new(c, n, ret)) < 0)
                return r;
        memcpy((*ret)->argv, c->command, n * sizeof(char *));
        if (strchr(c->command[0], '/') && *c->command[0] != '/' &&
            hook_make_absolute(c->command[0], (*ret)->program))
                (*ret)->argv[0] = (*ret)->program;
        return 0;
}

static const char *exec_check(const struct config *c) {
        return c->command ? NULL : "strategy=exec needs command=PROGRAM [ARG...]";
}

const struct delivery_ops exec_ops = {
        .name = "exec",
        .summary = "your program gets it, and decides: smtpd-exec(7)",
        .options = "command bare-lf-from",
        .check = exec_check,
        .needs = hook_needs,
        .open = exec_open,
        .recipient = hook_recipient,
        .process_message = hook_process_message,
        .reset = hook_reset,
        .close = hook_close,
};
