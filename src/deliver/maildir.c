/* SPDX-License-Identifier: MIT */
/* deliver/maildir.c - strategy maildir: the message becomes a file in a Maildir, by our helper
 * smtpd-maildir (helpers/maildir.c). */
#include <errno.h>

#include "deliver/hook.h"
#include "deliver/program.h"
#include "io/log.h"

static const struct hook_helper helper = {
        .name = "smtpd-maildir",
        .strategy = "maildir",
        .remedy = "reinstall " PROGRAM,
};

static int maildir_require(void) {
        return hook_require(&helper);
}

static int maildir_open(const struct delivery_context *x, struct delivery **ret) {
        static char directory[PATH_MAX];
        const char *const words[] = { directory, x->config->x_peer ? "--x-peer" : NULL, NULL };

        if (!program_make_absolute(x->config->maildir, directory)) {
                log_say(LOG_ERR,
                        "maildir=%.300s: cannot make an absolute path of it: use one that begins "
                        "with /",
                        x->config->maildir);
                return -EINVAL;
        }
        return hook_open(x->config, &helper, words, ret);
}

static const char *maildir_check(const struct config *c, const char **ret_option) {
        (void) ret_option;
        return c->maildir ? NULL : "strategy=maildir needs maildir=DIR";
}

const struct delivery_ops maildir_ops = {
        .name = "maildir",
        .summary = "stores it as a file in a Maildir",
        .options = "maildir bare-lf-from",
        .check = maildir_check,
        .needs = hook_needs,
        .require = maildir_require,
        .open = maildir_open,
        .recipient = hook_recipient,
        .process_message = hook_process_message,
        .reset = hook_reset,
        .close = hook_close,
};
