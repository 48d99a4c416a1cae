/* SPDX-License-Identifier: MIT */
/* io/lock.h - a lock for output that several processes share: a file, pipe, socket or terminal.
 *
 * The process owns the lock (fcntl(2), F_SETLK), so that processes which share a description, as
 * sessions share their standard error, exclude each other; with flock(2) and F_OFD_SETLK they would
 * not. The kernel releases it when the process ends or closes any descriptor of the same file. It
 * does not nest.
 */
#pragma once

#include <stdint.h>

#include "io/patience.h"

/* Takes the lock, and polls for it until the deadline. Returns 0, also if locks are not supported
 * (some network file systems, a read-only descriptor); -EBUSY if another process has it; or what
 * patience_wait() returns. */
int lock_take(int fd, struct patience *p, int64_t deadline);

void lock_release(int fd);
