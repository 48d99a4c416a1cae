/* deliver/delivery.c - finds a strategy; what strategies have in common. */
#include "deliver/delivery.h"

#include <errno.h>
#include <string.h>

#include "io/log.h"

const struct fixed_reply delivery_sender_ok = { 250, "2.1.0", "sender OK" };
const struct fixed_reply delivery_recipient_ok = { 250, "2.1.5", "recipient OK" };

static const struct delivery_ops *find(const char *name) {
        for (const struct delivery_ops *const *s = delivery_strategies; *s; s++)
                if (strcmp((*s)->name, name) == 0)
                        return *s;
        return NULL;
}

const struct delivery_ops *delivery_default(bool is_for_journal) {
        return find(is_for_journal ? "journal" : "print");
}

void delivery_verdict(struct envelope *e, const struct reply *verdict) {
        for (size_t i = 0; i < e->n_addressees; i++)
                e->addressees[i].verdict = *verdict;
}

void delivery_storage_verdict(int error, struct reply *ret) {
        log_say(LOG_ERR, "cannot store the message: %s (in $TMPDIR, or else /var/tmp or /tmp)", strerror(-error));
        if (error == -ENOSPC || error == -EDQUOT || error == -EFBIG)
                reply_set(ret, 452, "4.3.1", "no space to store the message, try again later");
        else
                reply_set(ret, 451, "4.3.0", "cannot store the message, try again later");
}
