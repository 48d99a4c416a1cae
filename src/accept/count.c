/* accept/count.c - whether as many messages were accepted as were to come. */
#include "accept/count.h"

#include <sysexits.h>

#include "base/text.h"
#include "io/log.h"

bool count_is_reached(const struct config *c, const struct status *s) {
        return c->count > 0 && s->n_messages >= c->count;
}

int count_exit_status(const struct config *c, struct status *s) {
        if (c->count == 0)
                return 0;
        status_count(s);
        log_say(LOG_NOTICE, "accepted %llu message%s, with count=%llu",
                (unsigned long long) s->n_messages, text_plural(s->n_messages),
                (unsigned long long) c->count);
        return count_is_reached(c, s) ? 0 : EX_TEMPFAIL;
}
