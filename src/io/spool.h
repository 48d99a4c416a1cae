/* SPDX-License-Identifier: MIT */
/* io/spool.h - the message at rest: in memory as long as it is small, then in a file without a
 * name.
 *
 * The file is in $TMPDIR, or else in /var/tmp, or else in /tmp, and vanishes with the process
 * however that ends. If none of their file systems has O_TMPFILE it is in memory.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* octets up to which there is no file; also the block in which that is written */
enum { SPOOL_MEMORY = 32 * 1024 };

struct spool {
        uint64_t size;             /* octets in it */
        int fd;                    /* the file, or -1 */
        int error;                 /* negative errno of what went wrong first, 0 if nothing did */
        size_t n_memory;           /* octets in memory, which come after those in the file */
        char memory[SPOOL_MEMORY]; /* once all is in the file, spool_read() reads into it */
};

/* Where the file is made, in the first one that works; NULL is behind the last. */
const char *const *spool_directories(void);

/* Looks whether a long message goes to a file: 0; or a negative errno, and it stays in memory. */
int spool_check_files(void);

/* An empty one. */
void spool_init(struct spool *s);

/* Forgets all that is in it, and its error. */
void spool_reset(struct spool *s);

/* Appends. Returns 0, or a negative errno (-ENOSPC, -EFBIG, ...), which then stays. */
int spool_append(struct spool *s, const char *data, size_t n);

/* The octets from `offset` on: as many as are at hand, at `*ret`, valid until the next call.
 * Returns their number, 0 at the end, or a negative errno. After the first call nothing more can be
 * appended. */
int64_t spool_read(struct spool *s, uint64_t offset, const char **ret);

/* The octets from `*from` to `to`, a piece at a time, as spool_read() gives them: moves `*from` on
 * and returns the octets at `*ret`, 0 once it is at `to`, or a negative errno; -EIO if the file has
 * become shorter. */
int64_t spool_next(struct spool *s, uint64_t *from, uint64_t to, const char **ret);

/* The file with the whole message, which the session hands to its broker; it belongs to the spool.
 * A message in memory becomes a sealed file in memory (memfd_create(2)). Nothing can be appended
 * any more. Returns a negative errno if that fails. */
int spool_file(struct spool *s);

/* A new descriptor that reads such a file from its beginning, for a program; the caller closes it.
 * It is read-only and has an offset of its own, or, without /proc, is of a copy: nobody who has
 * another one notices what is done with it. Returns a negative errno if that fails. */
int spool_open_again(int file);

/* Likewise, for a program after which the message goes on. One that runs as root could open the
 * file once more, to write: it gets a copy, unless the file is sealed. */
int spool_lend(int file);
