/* SPDX-License-Identifier: MIT */
/* helpers/journal_read.c - whether journald has stored an entry: it is read back.
 *
 * The library opens all files of the journal, old ones too, and there can be thousands. We look
 * into those that journald writes to.
 */
#include "helpers/journal_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "io/deadline.h"

enum {
        PAUSE_MAX = 250 * 1000, /* journald announces what it has written as often */
        FAILURES_MAX = 12,      /* one after the other: in 1 to 3 seconds */
};

/* Of a pause in microseconds: the next one is twice as long. */
useconds_t journal_pause_after(useconds_t pause) {
        return pause < PAUSE_MAX ? 2 * pause : pause;
}

/* What a place has of journald's files for the whole system. */
struct files {
        bool is_place, is_readable, is_denied;
};

/* 0 or a negative errno. */
static int look_for_files(const char *place, struct files *f) {
        DIR *folder = opendir(place);
        int fd = folder ? dirfd(folder) : -1, error;
        struct dirent *d;

        if (fd < 0) {
                f->is_denied |= errno == EACCES;
                return errno == EACCES || errno == ENOENT ? 0 : -errno;
        }
        f->is_place = true;
        while (errno = 0, (d = readdir(folder))) {
                char name[sizeof(d->d_name) + sizeof("/system.journal")];

                stpcpy(stpcpy(name, d->d_name), "/system.journal");
                if (faccessat(fd, name, R_OK, 0) == 0)
                        f->is_readable = true;
                else if (errno == EACCES)
                        f->is_denied = true;
                else if (errno != ENOENT && errno != ENOTDIR)
                        break;
        }
        error = errno;
        closedir(folder);
        return -error;
}

/* Root may, and the group systemd-journal, and
 * whomever an access control list names. Where journald could have files, and has none, there is
 * nothing to be read. */
int journal_may_be_read(void) {
        struct files f = { 0 };
        int r;

        if ((r = look_for_files("/run/log/journal", &f)) < 0 ||
            (r = look_for_files("/var/log/journal", &f)) < 0)
                return r;
        if (geteuid() == 0)
                return f.is_place ? 1 : -ENOENT;
        return f.is_readable || (f.is_place && !f.is_denied);
}

/* --- the files -------------------------------------------------------------------------------- */

static bool is_known(const struct journal_files *f, const struct stat *file) {
        for (size_t i = 0; i < f->n; i++) {
                struct stat known;

                if (fstat(f->fds[i], &known) == 0 && known.st_dev == file->st_dev &&
                    known.st_ino == file->st_ino)
                        return true;
        }
        return false;
}

static void add_file(struct journal_files *f, int place, const char *folder, const char *name) {
        char path[NAME_MAX + 64];
        struct stat st;
        int fd;

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        if (place < 0)
                return;
        fd = f->n < JOURNAL_FILES_MAX ? openat(place, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
        if (fd >= 0 && fstat(fd, &st) == 0 && !is_known(f, &st))
                f->fds[f->n++] = fd;
        else if (fd >= 0)
                close(fd);
}

/* A deleted one is no more in the journal. */
static void drop_deleted(struct journal_files *f) {
        size_t n = 0;

        for (size_t i = 0; i < f->n; i++) {
                struct stat st;

                if (fstat(f->fds[i], &st) == 0 && st.st_nlink > 0)
                        f->fds[n++] = f->fds[i];
                else
                        close(f->fds[i]);
        }
        f->n = n;
}

/* Each machine and name space has a folder. Our entries are in the system's file, or, on disk and
 * of a user who is a person, in that user's. */
static void open_in(struct journal_files *f, const char *place) {
        DIR *folder = opendir(place);
        struct dirent *d;
        char ours[64];

        snprintf(ours, sizeof(ours), "user-%lu.journal", (unsigned long) getuid());
        while (folder && (d = readdir(folder)))
                if (*d->d_name != '.') {
                        add_file(f, dirfd(folder), d->d_name, "system.journal");
                        add_file(f, dirfd(folder), d->d_name, ours);
                }
        if (folder)
                closedir(folder);
}

void journal_files_open(struct journal_files *f) {
        drop_deleted(f);
        open_in(f, "/run/log/journal");
        open_in(f, "/var/log/journal");
}

/* --- the entry -------------------------------------------------------------------------------- */

/* Whether the entry that the journal has is ours to its last octet: 1, -EILSEQ, or another negative
 * errno. */
static int compare(sd_journal *j, const struct iovec *text) {
        size_t n_name = strlen("SMTPD_TEXT="), n;
        const void *data;
        int r;

        if ((r = sd_journal_set_data_threshold(j, 0)) < 0 ||
            (r = sd_journal_get_data(j, "SMTPD_TEXT", &data, &n)) < 0)
                return r;
        if (n != n_name + text->iov_len ||
            memcmp((const char *) data + n_name, text->iov_base, text->iov_len) != 0)
                return -EILSEQ;
        return 1;
}

/* 1, 0 if the entry is not in what is open there, or a negative errno. `error` is of the opening.
 */
static int look_and_close(sd_journal *j, int error, const char *id, const struct iovec *text) {
        char match[128];
        int r = error;

        if (r < 0)
                return r;
        snprintf(match, sizeof(match), "SMTPD_ID=%.100s", id);
        r = sd_journal_add_match(j, match, 0);
        if (r >= 0)
                r = sd_journal_seek_head(j);
        if (r >= 0)
                r = sd_journal_next(j);
        if (r > 0)
                r = compare(j, text);
        sd_journal_close(j);
        return r;
}

/* In the files that are written to; also the one that was until just now. A file that journald is
 * just changing may be unreadable, for the moment. */
static int look_into_files(struct journal_files *f, const char *id, const struct iovec *text) {
        int r = 0;

        journal_files_open(f);
        for (size_t i = 0; i < f->n && r <= 0 && r != -EILSEQ; i++) {
                sd_journal *j = NULL;
                int opened = sd_journal_open_files_fd(&j, f->fds + i, 1, 0);

                r = look_and_close(j, opened, id, text);
        }
        return r > 0 || r == -EILSEQ ? r : 0;
}

/* In all that there is, which can be more files than we may have open by default. */
static int look_everywhere(const char *id, const struct iovec *text) {
        sd_journal *j = NULL;
        struct rlimit files;
        int opened;

        if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
                files.rlim_cur = files.rlim_max;
                setrlimit(RLIMIT_NOFILE, &files);
        }
        opened = sd_journal_open_namespace(&j, NULL, SD_JOURNAL_ALL_NAMESPACES);
        return look_and_close(j, opened, id, text);
}

/* Entries usually are where they should be, within a millisecond. If one is not (SplitMode=login,
 * two rotations between two looks) it is looked for everywhere. That can fail for a while, because
 * of a file that is just being changed. */
int journal_read_back(struct journal_files *f, const char *id, const struct iovec *text) {
        int64_t deadline = deadline_after(JOURNAL_STORE_SECONDS);
        int n_failures = 0, r;

        for (useconds_t pause = JOURNAL_PAUSE_MIN;; pause = journal_pause_after(pause)) {
                r = look_into_files(f, id, text);
                if (r == 0 && pause >= PAUSE_MAX)
                        r = look_everywhere(id, text);
                n_failures = r < 0 ? n_failures + 1 : 0;
                if (r > 0 || r == -EILSEQ || n_failures == FAILURES_MAX ||
                    deadline_left(deadline) == 0)
                        break;
                usleep(pause);
        }
        return r > 0 ? 0 : r < 0 ? r : -ETIME;
}
