/* SPDX-License-Identifier: MIT */
/* io/deadline.h - deadlines: milliseconds of CLOCK_MONOTONIC. */
#pragma once

#include <limits.h>
#include <stdint.h>
#include <time.h>

static inline int64_t deadline_now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline int64_t deadline_after(uint64_t seconds) {
        return deadline_now() + (int64_t) seconds * 1000;
}

/* Milliseconds left, for poll(2): 0 when it has passed. */
static inline int deadline_left(int64_t deadline) {
        int64_t left = deadline - deadline_now();

        return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int) left;
}
