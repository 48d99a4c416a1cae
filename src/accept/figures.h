/* SPDX-License-Identifier: MIT */
/* accept/figures.h - what happened so far, in numbers: for `systemctl status`, metrics-file and
 * count. */
#pragma once

#include <stdint.h>

/* In the order of metrics-file. */
enum figure {
        FIGURE_STARTED,     /* sessions */
        FIGURE_OPEN,        /* those of them that run */
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

/* Adds what sessions have written. One that was taken over can write what it likes, and as much:
 * it can count wrongly, and keep us no longer than a full pipe does. */
void figures_read(struct figures *f);

/* All clients that were turned away. */
uint64_t figures_turned_away(const struct figures *f);
