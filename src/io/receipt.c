/* SPDX-License-Identifier: MIT */
/* io/receipt.c - messages whose 250 is not known to have arrived. */
#include "io/receipt.h"

#include <string.h>

#include "base/text.h"
#include "io/log.h"

void receipt_add(struct receipt *r, const char *id) {
        struct receipt_message *m = r->messages + r->n;

        if (r->n++ >= RECEIPT_MESSAGES)
                return;
        text_format(m->id, sizeof(m->id), "%s", id);
        m->n_recipients = m->n_to = 0;
}

/* Of a longer address the log shows no more than that. */
void receipt_add_recipient(struct receipt *r, const char *address) {
        struct receipt_message *m = r->messages + r->n - 1;
        size_t n = strnlen(address, LOG_CHOSEN_MAX);

        if (r->n > RECEIPT_MESSAGES)
                return;
        m->n_recipients++;
        if (n < sizeof(m->to) - m->n_to)
                m->n_to += text_format(m->to + m->n_to, n + 1, "%s", address) + 1;
}

/* Input is no sign of it: the client may have sent that before. */
void receipt_settle(struct receipt *r, const struct channel *c) {
        if (r->n > 0 && channel_is_heard(c))
                r->n = 0;
}
