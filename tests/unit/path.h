/* SPDX-License-Identifier: MIT */
/* path.h - a path parsed from a copy, for the programs that test smtp/address. */
#pragma once

#include "smtp/address.h"

#include "unit.h"

/* Parses a copy whose end is the end of its memory. */
static inline enum address_status parse(const char *s, size_t n, struct address *ret,
                                        size_t *ret_used) {
        static char buffer[5000];

        memset(ret, 'z', 8); /* it owes nothing to what was there */
        ret->is_utf8 = ret->has_route = true;
        return address_parse_path(unit_copy(buffer, sizeof(buffer), s, n), n, ret, ret_used);
}
