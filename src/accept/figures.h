/* SPDX-License-Identifier: MIT */
/* accept/figures.h - counters for `systemctl status`, metrics-file= and count=. */
#pragma once

#include <stdint.h>

/* In the order of metrics-file. */
enum figure {
        FIGURE_STARTED,     /* sessions */
        FIGURE_OPEN,        /* running */
        FIGURE_FULL,        /* clients that were turned away: of max-connections */
        FIGURE_SOURCE_FULL, /* of max-connections-per-source */
        FIGURE_SHORTAGE,
        FIGURE_STOPPING,
        FIGURE_2XX, /* messages, by their best verdict */
        FIGURE_4XX,
        FIGURE_5XX,
        FIGURE_REJECTED, /* lines of the log */
        FIGURE_CRASHED,  /* sessions */
        FIGURES,
};

struct figures {
        int counter; /* the pipe in which sessions count (io/notify.h); it does not block */
        uint64_t n[FIGURES];
};

/* Adds the events that sessions have written. A session that was taken over can falsify the
 * counters, but delay us no longer than reading a full pipe takes. */
void figures_read(struct figures *f);

/* All clients that were turned away. */
uint64_t figures_turned_away(const struct figures *f);
