/* SPDX-License-Identifier: MIT */
/* io/lock.h - the lock of whatever several processes write to: file, pipe, socket or terminal.
 *
 * It is the process that has it (fcntl(2), F_SETLK): processes that share a description, as
 * sessions share their standard error, exclude each other; with flock(2) and F_OFD_SETLK they would
 * not.
 * The kernel takes it back when the process ends, or closes any descriptor of the same thing; nor
 * can it be taken twice.
 */
#pragma once

#include <stdint.h>

#include "io/patience.h"

/* Takes it; looks again and again until the deadline. Returns 0, also if there is no lock to be had
 * (some network file systems, a descriptor for reading); -EBUSY if somebody else has it; or what
 * patience_wait() returns. */
int lock_take(int fd, struct patience *p, int64_t deadline);

void lock_release(int fd);
