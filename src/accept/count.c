/* SPDX-License-Identifier: MIT */
/* accept/count.c - count=: ends the acceptor after a number of accepted messages. */
#include "accept/count.h"

#include <sysexits.h>

#include "base/text.h"
#include "io/log.h"

bool count_is_reached(const struct config *c, const struct figures *f) {
        return c->count > 0 && f->n[FIGURE_2XX] >= c->count;
}

int count_exit_status(const struct config *c, struct figures *f) {
        if (c->count == 0)
                return 0;
        figures_read(f);
        log_say(LOG_NOTICE, "accepted %llu message%s, with count=%llu",
                (unsigned long long) f->n[FIGURE_2XX], text_plural(f->n[FIGURE_2XX]),
                (unsigned long long) c->count);
        return count_is_reached(c, f) ? 0 : EX_TEMPFAIL;
}
