/* helpers/journal_read.c - whether journald has stored an entry: it is read back. */
#include "helpers/journal_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
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
 * whomever an access control list names. Where journald could have files, and has none, there is nothing to be read. */
int journal_may_be_read(void) {
        struct files f = { 0 };
        int r;

        if ((r = look_for_files("/run/log/journal", &f)) < 0 || (r = look_for_files("/var/log/journal", &f)) < 0)
                return r;
        if (geteuid() == 0)
                return f.is_place ? 1 : -ENOENT;
        return f.is_readable || (f.is_place && !f.is_denied);
}

/* The journal, with our entry as all there is to see. 0 or a negative errno. */
static int open_journal(const char *id, sd_journal **ret) {
        char match[128];
        int r;

        snprintf(match, sizeof(match), "SMTPD_ID=%.100s", id);
        if ((r = sd_journal_open_namespace(ret, NULL, SD_JOURNAL_ALL_NAMESPACES)) < 0)
                *ret = NULL;
        return r < 0 ? r : sd_journal_add_match(*ret, match, 0);
}

/* Whether the entry that the journal has is ours to its last octet: 1, -EILSEQ, or another negative errno. */
static int compare(sd_journal *j, const struct iovec *text) {
        size_t n_name = strlen("SMTPD_TEXT="), n;
        const void *data;
        int r;

        if ((r = sd_journal_set_data_threshold(j, 0)) < 0 || (r = sd_journal_get_data(j, "SMTPD_TEXT", &data, &n)) < 0)
                return r;
        if (n != n_name + text->iov_len || memcmp((const char *) data + n_name, text->iov_base, text->iov_len) != 0)
                return -EILSEQ;
        return 1;
}

/* 1, 0 if the entry is not there, or a negative errno. */
static int look_for_entry(sd_journal *j, const struct iovec *text) {
        int r = sd_journal_seek_head(j);

        if (r >= 0)
                r = sd_journal_next(j);
        return r > 0 ? compare(j, text) : r;
}

/* Some failures come of a file that journald is just changing, and the library
 * may have left it out; then, and where we cannot be told of new files (fs.inotify.max_user_instances), the journal is opened
 * anew. */
int journal_read_back(const char *id, const struct iovec *text) {
        int64_t deadline = deadline_after(JOURNAL_STORE_SECONDS);
        int n_failures = 0, r;
        sd_journal *j = NULL;

        for (useconds_t pause = JOURNAL_PAUSE_MIN;; pause = journal_pause_after(pause)) {
                r = j ? 0 : open_journal(id, &j);
                if (r >= 0)
                        r = look_for_entry(j, text);
                n_failures = r < 0 ? n_failures + 1 : 0;
                if (r > 0 || r == -EILSEQ || n_failures == FAILURES_MAX || deadline_left(deadline) == 0)
                        break;
                if (r < 0 || pause >= PAUSE_MAX || sd_journal_wait(j, pause) < 0) {
                        sd_journal_close(j);
                        j = NULL;
                        usleep(pause);
                }
        }
        sd_journal_close(j);
        return r > 0 ? 0 : r < 0 ? r : -ETIME;
}
