/* SPDX-License-Identifier: MIT */
/* helpers/maildir_text.h - a file of a Maildir: its name and its content. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

enum { MAILDIR_NAME_MAX = 256 }; /* with the NUL */

/* What makes a name unique. */
struct maildir_origin {
        struct timespec time;
        pid_t pid;
        const char *hostname;
        ino_t inode; /* of the file; 0: not created yet */
};

/* Makes a name as in https://cr.yp.to/proto/maildir.html: SECONDS.M(microseconds)P(process).HOST,
 * with I(inode) before the dot. HOST has \057 for a slash and \072 for a colon. */
void maildir_name(const struct maildir_origin *o, char ret[static MAILDIR_NAME_MAX]);

/* Writes the message from standard input with the fields of a final delivery (RFC 5321
 * section 4.4): Return-Path, Delivered-To and Received, and X-Peer as the last field if
 * `has_x_peer`. Returns 0 or a negative errno. */
int maildir_write(int fd, bool has_x_peer);
