/* SPDX-License-Identifier: MIT */
/* io/socket_file.c - the file of a local socket on which we listen, and its lock. */
#include "io/socket_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/text.h"
#include "io/endpoint.h"

enum { LOCK_PATH_MAX = sizeof(((struct sockaddr_un *) 0)->sun_path) + 8 };

static const char prefix[] = "smtpd "; /* of what stands in the lock: then the identity, and a LF */

static void lock_path(const char *path, char ret[static LOCK_PATH_MAX]) {
        text_format(ret, LOCK_PATH_MAX, "%.107s.lock", path);
}

/* Whether nobody listens there (any more). What is no socket refuses connections too. */
static bool is_abandoned(const char *path) {
        struct sockaddr_un address;
        bool is_refused;
        int fd;

        if (!endpoint_local(path, &address))
                return false;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return false;
        is_refused = connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 &&
                     errno == ECONNREFUSED;
        close(fd);
        return is_refused;
}

/* The socket there. */
static struct socket_identity identify(const char *path) {
        struct stat st;

        if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
                return (struct socket_identity) { 0 };
        return (struct socket_identity) { st.st_ino, (uint64_t) st.st_mtim.tv_sec * 1000000000 +
                                                             (uint64_t) st.st_mtim.tv_nsec };
}

static bool is_there(const char *path, const struct socket_identity *ours) {
        struct socket_identity there = identify(path);

        return ours->inode > 0 && there.inode == ours->inode && there.made == ours->made;
}

static bool is_identity(const char *text, struct socket_identity *ret) {
        if (strncmp(text, prefix, sizeof(prefix) - 1) != 0)
                return false;
        text = ascii_read_number(text + sizeof(prefix) - 1, &ret->inode);
        return *text == ' ' && strcmp(ascii_read_number(text + 1, &ret->made), "\n") == 0;
}

/* What the lock has: nothing yet, or whose socket is there. -EEXIST if it is no lock of ours. */
static int read_lock(int fd, struct socket_identity *ret) {
        char text[80];
        struct stat st;
        ssize_t n;

        *ret = (struct socket_identity) { 0 };
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EEXIST;
        if ((n = pread(fd, text, sizeof(text) - 1, 0)) < 0)
                return -errno;
        text[n] = '\0';
        return n == 0 || is_identity(text, ret) ? 0 : -EEXIST;
}

static int write_lock(int fd, const struct socket_identity *ours) {
        char text[80];
        size_t n = text_format(text, sizeof(text), "%s%llu %llu\n", prefix,
                               (unsigned long long) ours->inode, (unsigned long long) ours->made);

        if (ftruncate(fd, 0) < 0 || pwrite(fd, text, n, 0) != (ssize_t) n)
                return -errno;
        return 0;
}

/* Whether the file there is the one that is open: whoever had the lock before may have removed it.
 */
static bool is_current(int fd, const char *path) {
        struct stat ours, there;

        return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_dev == there.st_dev &&
               ours.st_ino == there.st_ino;
}

/* Returns a descriptor, which has the lock, or a negative errno. */
static int open_lock(const char *path) {
        for (;;) {
                int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
                int error;

                if (fd < 0)
                        return -errno;
                error = flock(fd, LOCK_EX | LOCK_NB) < 0 ? errno : 0;
                if (!error && is_current(fd, path))
                        return fd;
                close(fd);
                if (error)
                        return error == EWOULDBLOCK ? -EADDRINUSE : -error;
        }
}

int socket_file_take(const char *path, struct socket_file *ret) {
        struct socket_identity left;
        char name[LOCK_PATH_MAX];
        int fd, r;

        lock_path(path, name);
        if ((fd = open_lock(name)) < 0)
                return fd;
        if ((r = read_lock(fd, &left)) < 0) {
                close(fd);
                return r;
        }
        *ret = (struct socket_file) { .lock = fd };
        if (is_there(path, &left) && is_abandoned(path))
                unlink(path);
        return 0;
}

int socket_file_note(const char *path, struct socket_file *f) {
        f->ours = identify(path);
        return f->ours.inode > 0 ? write_lock(f->lock, &f->ours) : -ENOENT;
}

/* The lock stays if the socket does, since we may not remove it: so the next one of us knows whose
 * it was. */
void socket_file_remove(const char *path, struct socket_file *f) {
        char name[LOCK_PATH_MAX];

        if (f->lock < 0)
                return;
        lock_path(path, name);
        if (!is_there(path, &f->ours) || unlink(path) == 0)
                unlink(name);
        close(f->lock);
        *f = (struct socket_file) { .lock = -1 };
}
