/* SPDX-License-Identifier: MIT */
/* filter.h - confines a process to a list of system calls, with seccomp(2): any other one kills it
 * (SIGSYS).
 *
 * The system call numbers are known if FILTER_IS_KNOWN; otherwise no process can be confined.
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

/* A rule allows a system call: always, or if (or unless) an argument has a value; or it forbids the
 * call, whatever later rules say. The rules of a call must be adjacent; if none of them allows it,
 * it kills the process. The lower 32 bits of the argument are compared, or the upper ones. */
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

/* Installs the filter; put frequent calls first. Returns whether that succeeded. */
bool filter_enter(const struct filter_rule *rules, size_t n);

/* Why filters are not available here; NULL: they are. */
const char *filter_missing(void);
