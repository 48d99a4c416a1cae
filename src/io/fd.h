/* SPDX-License-Identifier: MIT */
/* io/fd.h - descriptors: writing with a deadline, checks, and system calls for which some C
 * libraries have no function. */
#pragma once

#include <linux/close_range.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "io/patience.h"

/* The descriptor whose number is in this environment variable, or -1. It is for us, and not for
 * programs that we run. */
int fd_passed(const char *variable);

/* Writes n octets to a socket, pipe, terminal or file. Returns 0, the negative errno of write(2),
 * -ETIMEDOUT at the deadline, or what else patience_wait() returns; `*data` and `*n` are then what
 * is left. The descriptor's flags, which other processes may share, are not changed.
 */
int fd_write(int fd, struct patience *p, const char **data, size_t *n, int64_t deadline);

static inline int fd_write_all(int fd, const char *data, size_t n, int64_t deadline) {
        return fd_write(fd, NULL, &data, &n, deadline);
}

/* Makes a pipe that we write to non-blocking without affecting those who share its description, by
 * reopening it under the same number. Does nothing if that is not permitted. */
void fd_make_own(int fd);

/* Whether the descriptor is /dev/null, under any name. */
bool fd_is_null(int fd);
bool fd_is_null_device(const struct stat *st);

/* Whether this is the journal: $JOURNAL_STREAM has its device and inode (systemd.exec(5)). */
bool fd_is_journal(const struct stat *st);

/* Whether a socket may be shared with other processes, as the journal's is: it is connected to a
 * named socket of this host, or is our standard error. A client's connection and one end of a pair
 * are not. */
bool fd_is_outgoing(int fd);

/* Closes a descriptor unless it is negative, and sets it to -1. */
void fd_close(int *fd);

/* Makes a close-on-exec pipe whose read end does not block. Returns 0 or a negative errno. */
int fd_make_pipe(int ret[static 2]);

/* Lowers RLIMIT_NOFILE to n. */
void fd_set_limit(size_t n);

/* Returns 0 if RLIMIT_NOFILE has room for n more descriptors, or -EMFILE. */
int fd_check_room(size_t n);

/* close_range(2) of `first` and all above; flags are 0 or CLOSE_RANGE_CLOEXEC. Safe after vfork(2).
 * Returns 0, or -1 with errno. */
int fd_close_range(unsigned first, unsigned flags);

/* Closes `first` to `last`. */
int fd_close_between(unsigned first, unsigned last);

/* pidfd_open(2). Returns the descriptor, which is closed at execve(2), or -1. */
int fd_open_process(pid_t pid);
