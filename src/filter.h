/* SPDX-License-Identifier: MIT */
/* filter.h - a process confines itself to a list of system calls, with seccomp(2): any other ends
 * it (SIGSYS).
 *
 * The numbers of the calls are known if FILTER_IS_KNOWN; elsewhere nothing can be confined.
 */
#pragma once

#include <features.h> /* __GLIBC__ */
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>

#if defined(__GLIBC__) &&                                                                          \
        ((defined(__x86_64__) && defined(__LP64__)) ||                                             \
         (defined(__aarch64__) && defined(__LP64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__))
#define FILTER_IS_KNOWN 1
#else
#define FILTER_IS_KNOWN 0
#endif

enum { FILTER_ANY = -1 };

/* A call that is allowed: always, or if (or unless) an argument has a value; or that is not,
 * whatever the next rules say of it. All rules of a call stand together: it ends the process if
 * none of them allows it. Of an argument the lower half is meant, or else the upper. */
struct filter_rule {
        unsigned number;
        int argument;
        bool is_unless, is_never, is_upper;
        bool is_failing; /* the call fails with EPERM */
        unsigned value;
};

#define ALWAYS(call) { .number = __NR_##call, .argument = FILTER_ANY }
#define IF(call, index, is) { .number = __NR_##call, .argument = (index), .value = (unsigned) (is) }
#define UNLESS(call, index, is)                                                                    \
        { .number = __NR_##call, .argument = (index), .value = (unsigned) (is), .is_unless = true }
#define NEVER(call, index, is)                                                                     \
        { .number = __NR_##call, .argument = (index), .value = (unsigned) (is), .is_never = true }
#define NEVER_UNLESS(call, index, is)                                                              \
        { .number = __NR_##call,                                                                   \
          .argument = (index),                                                                     \
          .value = (unsigned) (is),                                                                \
          .is_unless = true,                                                                       \
          .is_never = true }
#define IF_NULL(call, index)                                                                       \
        { .number = __NR_##call,                                                                   \
          .argument = (index),                                                                     \
          .is_upper = true,                                                                        \
          .is_unless = true,                                                                       \
          .is_never = true },                                                                      \
                IF(call, index, 0)
#define FAILS(call) { .number = __NR_##call, .argument = FILTER_ANY, .is_failing = true }

/* From now on only these can be made; frequent ones are first. Returns whether it is so. */
bool filter_enter(const struct filter_rule *rules, size_t n);

/* Why it cannot be done here; NULL: it can. */
const char *filter_missing(void);
