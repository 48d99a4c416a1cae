/* SPDX-License-Identifier: MIT */
/* accept/metrics.h - metrics-file: the figures in the text format of Prometheus. A file of that
 * name is whole at every moment: each one is written beside it, and takes its name then. */
#pragma once

#include <limits.h>
#include <stdint.h>

#include "accept/figures.h"

struct metrics {
        char file[PATH_MAX]; /* "": there is none */
        int64_t next;        /* when to write it again */
        int error;           /* of the last attempt, as an errno; 0: it is written */
};

/* When there is something to do: io/deadline.h. */
int64_t metrics_next(const struct metrics *m);

/* Writes the figures to the file of this name (NULL: there is to be none) if it is time, or if it
 * has another name than before: the old one is removed, since it would never change again. The
 * first failure is logged. */
void metrics_keep(struct metrics *m, const char *file, const struct figures *f);

/* The same for the last time. */
void metrics_end(struct metrics *m, const struct figures *f);
