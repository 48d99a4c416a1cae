/* SPDX-License-Identifier: MIT */
/* accept/figures.c - counters for the service manager, metrics-file= and count=. */
#include "accept/figures.h"

#include <stddef.h>
#include <unistd.h>

#include "io/notify.h"

enum { BLOCK = 4096, BLOCKS = 16 }; /* as much as a pipe holds */

static void count(struct figures *f, char octet) {
        switch (octet) {
        case NOTIFY_2XX: f->n[FIGURE_2XX]++; break;
        case NOTIFY_4XX: f->n[FIGURE_4XX]++; break;
        case NOTIFY_5XX: f->n[FIGURE_5XX]++; break;
        case NOTIFY_REJECTED: f->n[FIGURE_REJECTED]++; break;
        default: break; /* of no session of ours */
        }
}

void figures_read(struct figures *f) {
        char octets[BLOCK];
        ssize_t n;

        for (int i = 0; i < BLOCKS && (n = read(f->counter, octets, sizeof(octets))) > 0; i++)
                for (ssize_t k = 0; k < n; k++)
                        count(f, octets[k]);
}

uint64_t figures_turned_away(const struct figures *f) {
        uint64_t n = 0;

        for (enum figure i = FIGURE_FULL; i <= FIGURE_STOPPING; i++)
                n += f->n[i];
        return n;
}
