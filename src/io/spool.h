/* SPDX-License-Identifier: MIT */
/* io/spool.h - the message while it is received: in memory as long as it is small, then in a file
 * without a name.
 *
 * The file is in $TMPDIR, or else in /var/tmp, or else in /tmp, and disappears with the process. If
 * none of their file systems supports O_TMPFILE, it is in memory (memfd_create(2)).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* octets up to which there is no file; also the size of a write to the file */
enum { SPOOL_MEMORY = 32 * 1024 };

struct spool {
        uint64_t size;             /* octets in it */
        int fd;                    /* the file, or -1 */
        int error;                 /* negative errno of what went wrong first, 0 if nothing did */
        size_t n_memory;           /* octets in memory, which come after those in the file */
        char memory[SPOOL_MEMORY]; /* once all is in the file, spool_read() reads into it */
};

/* The directories in the order in which they are tried; ends with NULL. */
const char *const *spool_directories(void);

/* Returns 0 if a long message would go to a file, or a negative errno if it would stay in memory.
 */
int spool_check_files(void);

/* An empty one. */
void spool_init(struct spool *s);

/* Empties the spool and clears its error. */
void spool_reset(struct spool *s);

/* Appends n octets. Returns 0, or a negative errno (-ENOSPC, -EFBIG, ...), which all later calls
 * return too. */
int spool_append(struct spool *s, const char *data, size_t n);

/* Reads from `offset` on, as much as is available at once: `*ret` is valid until the next call.
 * Returns the number of octets, 0 at the end, or a negative errno. After the first call nothing can
 * be appended. */
int64_t spool_read(struct spool *s, uint64_t offset, const char **ret);

/* Reads from `*from` to `to`, one piece per call, as spool_read() does, and advances `*from`.
 * Returns the number of octets, 0 at `to`, or a negative errno; -EIO if the file has become
 * shorter. */
int64_t spool_next(struct spool *s, uint64_t *from, uint64_t to, const char **ret);

/* Returns the descriptor of a file with the whole message, for the broker; the spool keeps owning
 * it. A message in memory becomes a sealed file in memory (memfd_create(2)). Nothing can be
 * appended after that. Returns a negative errno on failure. */
int spool_file(struct spool *s);

/* Opens such a file again, for a program; the caller closes the descriptor. It is read-only and has
 * its own offset, or, without /proc, is a copy: its use does not affect other descriptors. Returns
 * a negative errno on failure. */
int spool_open_again(int file);

/* The same for a program after which the message is still used. A program that runs as root could
 * reopen the file for writing, so it gets a copy unless the file is sealed. */
int spool_lend(int file);
