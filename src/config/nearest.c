/* SPDX-License-Identifier: MIT */
/* config/nearest.c - the option that somebody may have meant. */
#include <string.h>

#include "base/array.h"
#include "base/ascii.h"
#include "config/options.h"

enum { LONGEST = 40 };

static unsigned least(unsigned a, unsigned b) {
        return a < b ? a : b;
}

/* How many letters have to be added, left out or changed to make one name of the other
 * (Levenshtein); the case does not count. */
static unsigned distance(const char *a, size_t n_a, const char *b, size_t n_b) {
        unsigned row[LONGEST + 1]; /* from the first letters of a to the first j of b */

        for (unsigned j = 0; j <= n_b; j++)
                row[j] = j;
        for (size_t i = 0; i < n_a; i++) {
                unsigned before = row[0]++;

                for (size_t j = 0; j < n_b; j++) {
                        unsigned changed = before + (ascii_lower(a[i]) != ascii_lower(b[j]));

                        before = row[j + 1];
                        row[j + 1] = least(changed, least(before, row[j]) + 1);
                }
        }
        return row[n_b];
}

/* What other programs call it. */
static const struct option *find_alias(const char *name, size_t n) {
        static const char *const aliases[][2] = {
                { "port", "listen" }, { "bind", "listen" },   { "address", "listen" },
                { "debug", "trace" }, { "verbose", "trace" },
        };

        for (size_t i = 0; i < ELEMENTS(aliases); i++)
                if (strlen(aliases[i][0]) == n && ascii_is_equal(aliases[i][0], name, n))
                        return options_find(aliases[i][1], strlen(aliases[i][1]));
        return NULL;
}

const struct option *options_nearest(const char *name, size_t n) {
        const struct option *nearest = NULL;
        unsigned best = n < 6 ? (unsigned) n / 2 : 3; /* what is not near enough any more */

        for (const struct option *o = options; o->name && n <= LONGEST; o++) {
                size_t n_name = strlen(o->name);
                unsigned d = n_name <= LONGEST ? distance(name, n, o->name, n_name) : LONGEST;

                if (d < best) {
                        best = d;
                        nearest = o;
                }
        }
        return nearest ? nearest : find_alias(name, n);
}
