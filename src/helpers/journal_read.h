/* SPDX-License-Identifier: MIT */
/* helpers/journal_read.h - reads an entry back, to know whether journald has stored it. */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

enum {
        JOURNAL_STORE_SECONDS = 10, /* that journald may take */
        JOURNAL_PAUSE_MIN = 500,    /* microseconds between the first two looks */
        JOURNAL_FILES_MAX = 32,     /* of a few name spaces (journald@.service) */
};

/* The pause after this one, in microseconds. */
useconds_t journal_pause_after(useconds_t pause);

/* Whether we may read the journal: 1 or 0, or a negative errno. */
int journal_may_be_read(void);

/* The files that journald is writing to. They are opened before the entry is sent, and stay open
 * when journald renames them and begins new ones. */
struct journal_files {
        int fds[JOURNAL_FILES_MAX];
        size_t n;
};

/* Opens the files that are not open yet. */
void journal_files_open(struct journal_files *f);

/* Waits for the entry with this SMTPD_ID and text. Returns 0, -EILSEQ if the text differs, -ETIME
 * if there is none in time, or another negative errno. */
int journal_read_back(struct journal_files *f, const char *id, const struct iovec *text);
