/* SPDX-License-Identifier: MIT */
/* deliver/show.c - strategy show: the message goes to the output as a person reads it, by our
 * helper smtpd-show (helpers/show.c). */
#include "base/text.h"
#include "deliver/hook.h"

static const struct hook_helper helper = {
        .name = "smtpd-show",
        .strategy = "show",
        .remedy = "build smtpd with libgmime-3.0-dev and pkg-config installed",
};

enum { SECONDS_TO_SAY = 2 }; /* the helper gives up at the timeout; what it says then counts */

static int show_require(void) {
        return hook_require(&helper);
}

static int show_open(const struct delivery_context *x, struct delivery **ret) {
        static char seconds[24];
        const char *const words[] = { seconds, NULL };
        int r = delivery_check_output(x->config);

        text_format(seconds, sizeof(seconds), "%llu", (unsigned long long) x->config->timeout);
        if (r == 0)
                r = hook_open(x->config, &helper, words, ret);
        if (r == 0)
                (*ret)->timeout += SECONDS_TO_SAY;
        return r;
}

static void show_needs(const struct delivery *d, struct services *ret) {
        hook_needs(d, ret);
        ret->has_output = true;
}

const struct delivery_ops show_ops = {
        .name = "show",
        .summary = "prints it as a person reads it: decoded, attachments listed",
        .options = "bare-lf-from",
        .needs_output = true,
        .needs = show_needs,
        .require = show_require,
        .open = show_open,
        .recipient = hook_recipient,
        .process_message = hook_process_message,
        .reset = hook_reset,
        .close = hook_close,
};
