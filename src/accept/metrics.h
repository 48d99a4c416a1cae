/* SPDX-License-Identifier: MIT */
/* accept/metrics.h - metrics-file: writes the figures in Prometheus' text format. The file is
 * replaced atomically: each version is written beside it and renamed. */
#pragma once

#include <limits.h>
#include <stdint.h>

#include "accept/figures.h"

struct metrics {
        char file[PATH_MAX]; /* "": there is none */
        int64_t next;        /* when to write it again */
        int error;           /* of the last attempt, as an errno; 0: it is written */
};

/* When to call metrics_keep() next: io/deadline.h. */
int64_t metrics_next(const struct metrics *m);

/* Writes the figures to this file (NULL: to none) if it is time, or if the name has changed; then
 * the old file is removed. The first of several failures is logged. */
void metrics_keep(struct metrics *m, const char *file, const struct figures *f);

/* Writes the figures for the last time. */
void metrics_end(struct metrics *m, const struct figures *f);
