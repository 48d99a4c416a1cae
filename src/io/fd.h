/* SPDX-License-Identifier: MIT */
/* io/fd.h - a descriptor that may block, written to with a deadline; system calls for which not
 * every C library has a function. */
#pragma once

#include <linux/close_range.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "io/patience.h"

/* The descriptor whose number is in this variable: made for us, and not for programs that we run.
 * -1 if there is none. */
int fd_passed(const char *variable);

/* Writes n octets to whatever fd is (socket, pipe, terminal, file). Returns 0, what patience_wait()
 * returns when it has to wait (-ETIMEDOUT at the deadline), or what write(2) failed with. `*data`
 * and `*n` are what is left then. The descriptor's flags, which others may share, stay as they are.
 */
int fd_write(int fd, struct patience *p, const char **data, size_t *n, int64_t deadline);

static inline int fd_write_all(int fd, const char *data, size_t n, int64_t deadline) {
        return fd_write(fd, NULL, &data, &n, deadline);
}

/* A pipe that we write to becomes one that does not block, without a change for those who share its
 * description: it is opened anew under the same number. Nothing happens if that is not allowed. */
void fd_make_own(int fd);

/* Whether it is /dev/null, by whatever name: what is written there is nowhere. */
bool fd_is_null(int fd);
bool fd_is_null_device(const struct stat *st);

/* Whether this is the journal: $JOURNAL_STREAM is its device and inode (systemd.exec(5)). */
bool fd_is_journal(const struct stat *st);

/* Whether a socket leads to somebody whom others who share it speak to as well, as the journal: it
 * was connected on this host to something that has a name, or it is our standard error. A client's
 * connection, or one of a pair, does not. */
bool fd_is_outgoing(int fd);

/* Closes it, if it is one, and makes it -1. */
void fd_close(int *fd);

/* A pipe that programs do not inherit, and whose reading end does not block. Returns 0 or a
 * negative errno. */
int fd_make_pipe(int ret[static 2]);

/* Lowers RLIMIT_NOFILE to n. */
void fd_set_limit(size_t n);

/* Returns 0 if n more descriptors can be had at once, as far as RLIMIT_NOFILE goes, or -EMFILE. */
int fd_check_room(size_t n);

/* close_range(2) of `first` and all above; flags are 0 or CLOSE_RANGE_CLOEXEC. Safe after vfork(2).
 * Returns 0, or -1 with errno. */
int fd_close_range(unsigned first, unsigned flags);

/* Closes `first` to `last`. */
int fd_close_between(unsigned first, unsigned last);

/* pidfd_open(2). Returns the descriptor, which is closed at execve(2), or -1. */
int fd_open_process(pid_t pid);
