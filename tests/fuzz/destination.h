/* SPDX-License-Identifier: MIT */
/* fuzz/destination.h - whether the destination has what a strategy's verdicts say. */
#pragma once

#include "deliver/delivery.h"
#include "world.h"

/* A message that was given to the strategy. */
struct given {
        size_t n_heard; /* what the client had heard by then, octets */
        struct text text;
        bool *is_positive; /* the verdicts, one for each recipient */
        bool is_prdr;      /* they hear one each, and then one for all */
        unsigned n;
        const char *x_peer;              /* address that X-Peer has to tell, or NULL */
        size_t printed_from, printed_to; /* in standard error */
};

/* The addressee with whose copy of the message this one is served. */
static inline size_t index_of_copy(const struct envelope *e, size_t i) {
        return e->addressees[i].same ? (size_t) (e->addressees[i].same - e->addressees) : i;
}

/* Standard error, since g->printed_from; says where it ends. */
void destination_judge_printed(struct given *g, const struct envelope *e);

/* All that servers took during this message, from that handover on. */
void destination_judge_handovers(const struct given *g, const struct envelope *e, size_t first);
