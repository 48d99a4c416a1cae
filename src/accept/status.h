/* SPDX-License-Identifier: MIT */
/* accept/status.h - what the service manager shows of us: the figures. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "accept/figures.h"

/* What the service manager knows. */
struct status {
        uint64_t figures[FIGURES];
        enum { STATUS_UNKNOWN, STATUS_ACCEPTING, STATUS_STOPPING } state;
        int64_t next; /* the earliest time to say more */
};

/* When to tell it something new: io/deadline.h; INT64_MAX if it knows all. */
int64_t status_next(const struct status *s, const struct figures *f, bool is_stopping);

/* Tells it, if it is time. */
void status_say(struct status *s, const struct figures *f, bool is_stopping);
