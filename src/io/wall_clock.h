/* SPDX-License-Identifier: MIT */
/* io/wall_clock.h - the time of day: microseconds since 1970.
 *
 * It does not use time(2): the loader has to choose among its variants at each start, which costs a
 * session more than it saves.
 */
#pragma once

#include <stdint.h>
#include <time.h>

static inline int64_t wall_clock_now(void) {
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline int64_t wall_clock_seconds(void) {
        return wall_clock_now() / 1000000;
}
