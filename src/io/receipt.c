/* io/receipt.c - messages whose 250 the client was not seen to hear yet. */
#include "io/receipt.h"

#include "base/text.h"

void receipt_add(struct receipt *r, const char *id, const char *to) {
        if (r->n < RECEIPT_MESSAGES) {
                text_format(r->messages[r->n].id, sizeof(r->messages[0].id), "%s", id);
                text_format(r->messages[r->n].to, sizeof(r->messages[0].to), "%s", to);
        }
        r->n++;
}

/* Input is no sign of it: the client may have sent that before. */
void receipt_settle(struct receipt *r, const struct channel *c) {
        if (r->n > 0 && channel_is_heard(c))
                r->n = 0;
}
