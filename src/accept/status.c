/* SPDX-License-Identifier: MIT */
/* accept/status.c - reports the figures to the service manager. */
#include "accept/status.h"

#include <string.h>

#include "base/text.h"
#include "io/deadline.h"
#include "io/notify.h"

enum { PAUSE = 1000 }; /* milliseconds between two words to the service manager */

int64_t status_next(const struct status *s, const struct figures *f, bool is_stopping) {
        bool is_known = s->state == (is_stopping ? STATUS_STOPPING : STATUS_ACCEPTING) &&
                        memcmp(s->figures, f->n, sizeof(s->figures)) == 0;

        return is_known ? INT64_MAX : s->next;
}

void status_say(struct status *s, const struct figures *f, bool is_stopping) {
        const unsigned long long open = f->n[FIGURE_OPEN], accepted = f->n[FIGURE_2XX];

        if (deadline_now() < status_next(s, f, is_stopping))
                return;
        notify_status(
                "%s%llu session%s, %llu message%s; so far %llu started, %llu crashed, %llu turned "
                "away; messages refused: %llu 4xx, %llu 5xx; rejected: %llu",
                is_stopping ? "stopping: " : "", open, text_plural(open), accepted,
                text_plural(accepted), (unsigned long long) f->n[FIGURE_STARTED],
                (unsigned long long) f->n[FIGURE_CRASHED],
                (unsigned long long) figures_turned_away(f), (unsigned long long) f->n[FIGURE_4XX],
                (unsigned long long) f->n[FIGURE_5XX], (unsigned long long) f->n[FIGURE_REJECTED]);
        memcpy(s->figures, f->n, sizeof(s->figures));
        s->state = is_stopping ? STATUS_STOPPING : STATUS_ACCEPTING;
        s->next = deadline_now() + PAUSE;
}
