/* SPDX-License-Identifier: MIT */
/* config/options.h - the table of options.
 *
 * A new option is one row in options.c, and a field of struct config.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "config/value.h"

struct option {
        const char *name;   /* NULL: the end of the table */
        const char *syntax; /* of the value; NULL: none; in brackets: it may be left out */
        const char *help;
        const struct kind *kind;
        size_t field;         /* its offset in struct config */
        uint64_t min, max;    /* of a number */
        const char *initial;  /* the default, a value; NULL: the field is not set */
        const char *fallback; /* what is used while it is not set, in words; NULL: nothing */
        /* the heading in --help of this row and those after it; NULL: the last one */
        const char *group;
        bool is_for_acceptor; /* it means nothing to a session of the acceptor */
};

enum { N_OPTIONS_MAX = 80 }; /* rows, with the end */

extern const struct option options[];

/* The option of the name at `name`, which has n octets; or NULL. */
const struct option *options_find(const char *name, size_t n);

/* The option that may have been meant by it: its name is at most two letters away, or it is what
 * other programs call that. Or NULL. */
const struct option *options_nearest(const char *name, size_t n);

/* Whether the option is allowed in the file: all but actions and the name of the file. */
bool options_is_for_file(const struct option *o);

/* Its field. */
void *options_field(const struct option *o, struct config *c);
const void *options_value(const struct option *o, const struct config *c);
