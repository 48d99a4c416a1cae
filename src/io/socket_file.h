/* SPDX-License-Identifier: MIT */
/* io/socket_file.h - the file of a local socket at which we listen, and whose it is.
 *
 * Beside /SOCKET there is /SOCKET.lock. Whoever listens holds a lock on it, so that of two of us
 * that start at once one finds the address in use; and it says which socket we made, so that we
 * replace and remove that one only, and nobody else's.
 */
#pragma once

#include <stdint.h>

/* Inodes are used again, at once by some file systems. */
struct socket_identity {
        uint64_t inode, made; /* inode 0: there is none; made: nanoseconds */
};

struct socket_file {
        int lock; /* a descriptor; -1 if there is no file */
        struct socket_identity ours;
};

/* Makes sure that nobody else of us listens there, and removes a socket that one of us has left
 * behind. Returns 0, -EADDRINUSE, -EEXIST if somebody else has a file of the lock's name, or
 * another negative errno. */
int socket_file_take(const char *path, struct socket_file *ret);

/* Notes that the socket there, which has just been bound, is ours. Returns 0 or a negative errno.
 */
int socket_file_note(const char *path, struct socket_file *f);

/* Removes our socket, if it is still there, and ends the lock. */
void socket_file_remove(const char *path, struct socket_file *f);
