/* SPDX-License-Identifier: MIT */
/* arguments.h - rules and arguments for the programs that test smtp/command. */
#pragma once

#include "smtp/command.h"

#include "unit.h"

/* Rules that rows choose from. */
enum {
        HELO = 1,
        NO_8BIT = 4,
        NO_UTF8 = 8,
        MAX_1000 = 16,
        UTF8_SENDER = 32,
        AS_IT_CAME = 64,
        QUALIFY = 128,
        DSN = 256,
        PRDR = 512
};

static inline struct command_rules rules_of(int flags) {
        return (struct command_rules) {
                .is_extended = !(flags & HELO),
                .extensions = (flags & NO_8BIT ? 0U : EXTENSION_8BITMIME) |
                              (flags & NO_UTF8 ? 0U : EXTENSION_SMTPUTF8) |
                              (flags & DSN ? EXTENSION_DSN : 0U) |
                              (flags & PRDR ? EXTENSION_PRDR : 0U),
                .max_size = flags & MAX_1000 ? 1000 : 0,
                .is_smtputf8 = flags & UTF8_SENDER,
                .needs_domain = !(flags & AS_IT_CAME),
                .qualify = flags & QUALIFY ? "d.e" : NULL,
        };
}

/* A copy of the arguments that ends where its memory ends. */
static inline const char *at_end(const char *args, size_t n) {
        static char buffer[4096];

        return unit_copy(buffer, sizeof(buffer), args, n);
}
