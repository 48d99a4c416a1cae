/* SPDX-License-Identifier: MIT */
/* deliver/delivery.c - finds a strategy; what strategies have in common. */
#include "deliver/delivery.h"

#include <errno.h>
#include <string.h>

#include "io/fd.h"
#include "io/log.h"
#include "io/output.h"

const struct fixed_reply delivery_sender_ok = { 250, "2.1.0", "sender OK" };
const struct fixed_reply delivery_recipient_ok = { 250, "2.1.5", "recipient OK" };

const struct fixed_reply delivery_elsewhere = {
        452, "4.5.3", "goes to another destination: send it in another message"
};

static const struct delivery_ops *find(const char *name) {
        for (const struct delivery_ops *const *s = delivery_strategies; *s; s++)
                if (strcmp((*s)->name, name) == 0)
                        return *s;
        return NULL;
}

const struct delivery_ops *delivery_default(bool is_for_journal) {
        return find(is_for_journal ? "journal" : "print");
}

static const char *missing_field(const struct delivery_ops *s) {
        if (!s->open)
                return "open";
        if (!s->process_message)
                return "process_message";
        if (!s->put != !s->collect)
                return s->put ? "collect" : "put";
        if (!s->mechanisms != !s->authenticate)
                return s->mechanisms ? "authenticate" : "mechanisms";
        return NULL;
}

static int check_row(const struct delivery_ops *s) {
        const char *field = missing_field(s);

        if (!field)
                return 0;
        log_say(LOG_ERR,
                "cannot use strategy=%s: its row does not set .%s: see struct delivery_ops in "
                "deliver/delivery.h",
                s->name, field);
        return -EINVAL;
}

int delivery_check(const struct delivery_ops *strategy) {
        int r = check_row(strategy);

        return r < 0 || !strategy->require ? r : strategy->require();
}

int delivery_open(const struct delivery_ops *strategy, const struct delivery_context *x,
                  struct delivery **ret) {
        int r = check_row(strategy);

        return r < 0 ? r : strategy->open(x, ret);
}

int delivery_check_output(const struct config *c) {
        const char *name = c->strategy->name;

        if (output_fd() < 0) {
                log_say(LOG_ERR,
                        "strategy=%s has nowhere to print: %s is closed or is the client's "
                        "connection (as under inetd); redirect it, or choose another strategy",
                        name, output_name());
                return -EINVAL;
        }
        if (!c->is_strategy_given && fd_is_null(output_fd())) {
                log_say(LOG_ERR,
                        "cannot print: %s is /dev/null, where messages would be lost: redirect it, "
                        "or choose a strategy (strategy=%s discards them there)",
                        output_name(), name);
                return -EINVAL;
        }
        return 0;
}

void delivery_verdict(struct envelope *e, const struct reply *verdict) {
        for (size_t i = 0; i < e->n_addressees; i++)
                e->addressees[i].verdict = *verdict;
}

void delivery_storage_verdict(int error, struct reply *ret) {
        log_say(LOG_ERR, "cannot store the message: %s (in $TMPDIR, or else /var/tmp or /tmp)",
                strerror(-error));
        if (error == -ENOSPC || error == -EDQUOT || error == -EFBIG)
                reply_set(ret, 452, "4.3.1", "no space to store the message, try again later");
        else
                reply_set(ret, 451, "4.3.0", "cannot store the message, try again later");
}
