/* SPDX-License-Identifier: MIT */
/* io/spool.c - the message while it is received. */
#include "io/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"

void spool_init(struct spool *s) {
        s->size = 0;
        s->fd = -1;
        s->error = 0;
        s->n_memory = 0;
}

void spool_reset(struct spool *s) {
        if (s->fd >= 0)
                close(s->fd);
        spool_init(s);
}

/* A file without a name in `directory`, whose mode does not let its readers write. The flags are
 * those that the sandbox knows. */
static int open_in(const char *directory) {
        int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0400);

        return fd < 0 ? -errno : fd;
}

const char *const *spool_directories(void) {
        static const char *const usual[] = { "/var/tmp", "/tmp", NULL };
        static const char *given[2];

        given[0] = secure_getenv("TMPDIR");
        return given[0] && *given[0] == '/' ? given : usual;
}

/* Whether there is no such file to be had in a directory, as against no space for it, for example.
 */
static bool is_unable(int error) {
        return error == -ENOENT || error == -EACCES || error == -EROFS || error == -EPERM ||
               error == -EOPNOTSUPP || error == -EISDIR;
}

static int open_file(void) {
        int fd = -ENOENT;

        for (const char *const *p = spool_directories(); *p && is_unable(fd); p++)
                fd = open_in(*p);
        return fd;
}

int spool_check_files(void) {
        int fd = open_file();

        if (fd >= 0)
                close(fd);
        return is_unable(fd) ? fd : 0;
}

static int make_memory_file(void) {
        int fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        return fd < 0 ? -errno : fd;
}

/* Without O_TMPFILE, in memory: max-size bounds it. */
static int open_any(void) {
        int fd = open_file();

        return is_unable(fd) ? make_memory_file() : fd;
}

static int write_all(int fd, const char *data, size_t n) {
        while (n > 0) {
                ssize_t k = write(fd, data, n);

                if (k < 0 && errno != EINTR)
                        return -errno;
                if (k > 0)
                        data += k, n -= (size_t) k;
        }
        return 0;
}

static int write_out(struct spool *s, const char *data, size_t n) {
        if (s->fd < 0 && (s->fd = open_any()) < 0)
                return s->fd;
        return write_all(s->fd, data, n);
}

/* What is in memory becomes the end of the file. A failure stays: the file is cut then, and must
 * not be read as whole. */
static int flush(struct spool *s) {
        size_t n = s->n_memory;

        s->n_memory = 0;
        if (s->error == 0)
                s->error = write_out(s, s->memory, n);
        return s->error;
}

/* The file gets whole blocks only, until it is read: the page cache takes those faster than the
 * same octets cut elsewhere. */
int spool_append(struct spool *s, const char *data, size_t n) {
        s->size += n;
        while (n > 0 && s->error == 0) {
                size_t room = SPOOL_MEMORY - s->n_memory, part = n < room ? n : room;

                if (s->n_memory == 0 && n > SPOOL_MEMORY) { /* from where they are */
                        part = n - n % SPOOL_MEMORY;
                        s->error = write_out(s, data, part);
                } else if (room == 0)
                        flush(s);
                else {
                        memcpy(s->memory + s->n_memory, data, part);
                        s->n_memory += part;
                }
                data += part;
                n -= part;
        }
        return s->error;
}

int64_t spool_read(struct spool *s, uint64_t offset, const char **ret) {
        ssize_t k;
        int r;

        if (s->fd < 0) {
                *ret = s->memory + offset;
                return (int64_t) (s->size - offset);
        }
        if ((r = flush(s)) < 0)
                return r;
        *ret = s->memory;
        do
                k = pread(s->fd, s->memory, sizeof(s->memory), (off_t) offset);
        while (k < 0 && errno == EINTR);
        return k < 0 ? -errno : k;
}

int64_t spool_next(struct spool *s, uint64_t *from, uint64_t to, const char **ret) {
        int64_t n;

        if (*from >= to)
                return 0;
        n = spool_read(s, *from, ret);
        if (n == 0)
                return -EIO;
        if (n > 0 && (uint64_t) n > to - *from)
                n = (int64_t) (to - *from);
        if (n > 0)
                *from += (uint64_t) n;
        return n;
}

/* --- for programs ----------------------------------------------------------------------------- */

/* From now on nobody changes it, not even by opening it again. Files on disk have no seals. */
static void seal(int fd) {
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
}

int spool_file(struct spool *s) {
        int r;

        if (s->fd < 0)
                s->fd = make_memory_file(); /* if that fails, write_out() makes a file */
        r = flush(s);
        if (r < 0)
                return r;
        seal(s->fd);
        return s->fd;
}

static int copy(int from, int to) {
        char block[4096];
        off_t at = 0;

        for (;;) {
                ssize_t n = pread(from, block, sizeof(block), at);
                int r;

                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n == 0)
                        return lseek(to, 0, SEEK_SET) < 0 ? -errno : 0;
                if (n > 0 && (r = write_all(to, block, (size_t) n)) < 0)
                        return r;
                at += n > 0 ? n : 0;
        }
}

static int open_copy(int from) {
        int fd = open_any(), r;

        if (fd < 0)
                return fd;
        r = copy(from, fd);
        seal(fd);
        if (r < 0)
                close(fd);
        return r < 0 ? r : fd;
}

int spool_open_again(int file) {
        char path[32];
        int fd;

        text_format(path, sizeof(path), "/proc/self/fd/%u", (unsigned) file);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT) /* there is no /proc */
                return open_copy(file);
        return fd < 0 ? -errno : fd;
}

/* No mode keeps root away. */
static bool is_safe(int file) {
        int seals = fcntl(file, F_GET_SEALS);

        return geteuid() != 0 || (seals >= 0 && seals & F_SEAL_WRITE);
}

int spool_lend(int file) {
        return is_safe(file) ? spool_open_again(file) : open_copy(file);
}
