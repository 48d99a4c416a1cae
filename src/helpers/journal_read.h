/* SPDX-License-Identifier: MIT */
/* helpers/journal_read.h - whether journald has stored an entry: it is read back. */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

enum {
        JOURNAL_STORE_SECONDS = 10, /* that journald may take */
        JOURNAL_PAUSE_MIN = 500,    /* microseconds between the first two looks */
        JOURNAL_FILES_MAX = 32,     /* of a few name spaces (journald@.service) */
};

/* How long to wait after a pause. */
useconds_t journal_pause_after(useconds_t pause);

/* 1 if we may read what journald writes, 0 if we may not, or a negative errno. */
int journal_may_be_read(void);

/* The files that journald is writing to: they are opened before the entry is sent, and stay ours
 * when journald renames them and begins new ones. */
struct journal_files {
        int fds[JOURNAL_FILES_MAX];
        size_t n;
};

/* Adds those that are not there yet. */
void journal_files_open(struct journal_files *f);

/* Waits for the entry with this SMTPD_ID and text. Returns 0, -EILSEQ if the text is another,
 * -ETIME, or another negative errno. */
int journal_read_back(struct journal_files *f, const char *id, const struct iovec *text);
