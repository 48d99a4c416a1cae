/* SPDX-License-Identifier: MIT */
/* io/socket_file.h - the file of a local socket on which we listen, and its lock.
 *
 * Beside /SOCKET there is /SOCKET.lock. The process that listens holds a lock on it, so that a
 * second one finds the address in use. The file also identifies the socket that we made, so that we
 * replace and remove only our own.
 */
#pragma once

#include <stdint.h>

/* Inode numbers are reused, by some file systems at once: hence the time. */
struct socket_identity {
        uint64_t inode, made; /* inode 0: there is none; made: nanoseconds */
};

struct socket_file {
        int lock; /* a descriptor; -1 if there is no file */
        struct socket_identity ours;
};

/* Makes sure that no other smtpd listens there, and removes a socket that one has left behind.
 * Returns 0, -EADDRINUSE, -EEXIST if there is another file with the lock's name, or another
 * negative errno. */
int socket_file_take(const char *path, struct socket_file *ret);

/* Notes the socket, which was just bound, as ours. Returns 0 or a negative errno.
 */
int socket_file_note(const char *path, struct socket_file *f);

/* Removes our socket, if it is still there, and releases the lock. */
void socket_file_remove(const char *path, struct socket_file *f);
