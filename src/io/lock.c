/* SPDX-License-Identifier: MIT */
/* io/lock.c - a lock for output that several processes share. */
#include "io/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "io/deadline.h"

enum { PAUSE_MAX = 16 }; /* milliseconds between two looks */

static int set(int fd, short type) {
        struct flock whole = { .l_type = type, .l_whence = SEEK_SET };

        return fcntl(fd, F_SETLK, &whole);
}

int lock_take(int fd, struct patience *p, int64_t deadline) {
        for (int pause = 1; set(fd, F_WRLCK) < 0; pause = pause < PAUSE_MAX ? 2 * pause : pause) {
                int r;

                if (errno != EAGAIN && errno != EACCES)
                        return 0;
                if (deadline_left(deadline) == 0)
                        return -EBUSY;
                r = patience_wait(p, NULL, 0, deadline_now() + pause);
                if (r != -ETIMEDOUT)
                        return r;
        }
        return 0;
}

void lock_release(int fd) {
        set(fd, F_UNLCK);
}
