/* SPDX-License-Identifier: MIT */
/* accept/status.h - reports the figures to the service manager. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "accept/figures.h"

/* What was reported last. */
struct status {
        uint64_t figures[FIGURES];
        enum { STATUS_UNKNOWN, STATUS_ACCEPTING, STATUS_STOPPING } state;
        int64_t next; /* the earliest time to say more */
};

/* When to report next: io/deadline.h; INT64_MAX if nothing has changed. */
int64_t status_next(const struct status *s, const struct figures *f, bool is_stopping);

/* Reports the figures, if it is time. */
void status_say(struct status *s, const struct figures *f, bool is_stopping);
