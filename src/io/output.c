/* SPDX-License-Identifier: MIT */
/* io/output.c - the output: where messages are printed. */
#include "io/output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/display.h"
#include "io/fd.h"
#include "io/lock.h"

enum { PIECE = 1024 }; /* octets of a text that are looked at together */

static struct {
        int fd;
        const char *name;
} output = { STDERR_FILENO, "standard error" };

/* The message that is being shown. */
static struct {
        struct patience *patience;
        int64_t deadline;
        int error;          /* negative errno of what failed first */
        struct stat before; /* the output, as it was */
        off_t offset;       /* in a file, of the descriptor then */
        uint64_t n_written;
        struct display display;
        size_t n; /* octets gathered in the buffer */
        char buffer[16 * 1024];
} message;

void output_set(int fd, const char *name) {
        output.fd = fd;
        output.name = name;
}

int output_fd(void) {
        return output.fd;
}

const char *output_name(void) {
        return output.name;
}

static enum display_kind kind_of(int fd, const struct stat *st) {
        if (S_ISCHR(st->st_mode) && isatty(fd))
                return DISPLAY_TERMINAL;
        return fd_is_journal(st) ? DISPLAY_JOURNAL : DISPLAY_PLAIN;
}

/* All the world has /dev/null open, and nothing mixes there. */
static bool is_locked(const struct stat *st) {
        return !fd_is_null_device(st);
}

void output_begin(struct patience *p, int64_t deadline) {
        message.patience = p;
        message.deadline = deadline;
        message.n = 0;
        message.n_written = 0;
        message.error = fstat(output.fd, &message.before) < 0 ? -errno : 0;
        if (message.error == 0 && is_locked(&message.before))
                message.error = lock_take(output.fd, p, deadline);
        if (message.error < 0)
                return;
        message.display = (struct display) { .kind = kind_of(output.fd, &message.before) };
        if (S_ISREG(message.before.st_mode) && fstat(output.fd, &message.before) == 0)
                message.offset = lseek(output.fd, 0, SEEK_CUR);
}

static void write_out(const char *data, size_t n) {
        size_t left = n;

        if (message.error == 0)
                message.error =
                        fd_write(output.fd, message.patience, &data, &left, message.deadline);
        message.n_written += n - left;
}

static void flush(void) {
        write_out(message.buffer, message.n);
        message.n = 0;
}

/* A short message goes out in one piece. */
static void put(const char *data, size_t n) {
        if (n > sizeof(message.buffer) - message.n)
                flush();
        if (n > sizeof(message.buffer)) {
                write_out(data, n);
                return;
        }
        memcpy(message.buffer + message.n, data, n);
        message.n += n;
}

void output_show(const char *data, size_t n) {
        static char shown[DISPLAY_ROOM(PIECE)];

        if (message.display.kind == DISPLAY_PLAIN) {
                put(data, n);
                return;
        }
        while (n > 0 && message.error == 0) {
                size_t part = n < PIECE ? n : PIECE;

                put(shown, display_text(&message.display, data, part, shown));
                data += part;
                n -= part;
        }
}

/* A file is as it was before the message, if the message is the end of it. */
static void take_back(void) {
        bool is_appending = fcntl(output.fd, F_GETFL) & O_APPEND;
        off_t size = message.before.st_size, end = size + (off_t) message.n_written;
        struct stat now;

        if (message.n_written == 0 || !S_ISREG(message.before.st_mode) ||
            (!is_appending && message.offset != size))
                return;
        if (fstat(output.fd, &now) == 0 && now.st_size == end && ftruncate(output.fd, size) == 0)
                lseek(output.fd, size, SEEK_SET);
}

int output_end(int error) {
        if (message.error == 0)
                message.error = error;
        if (message.error == 0)
                flush();
        if (message.error < 0)
                take_back();
        if (is_locked(&message.before))
                lock_release(output.fd);
        return message.error;
}
