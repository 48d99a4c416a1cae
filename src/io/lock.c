/* io/lock.c - the lock of whatever several processes write to. */
#include "io/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "io/deadline.h"

enum { PAUSE_MAX = 16 }; /* milliseconds between two looks */

static int set(int fd, short type) {
        struct flock whole = { .l_type = type, .l_whence = SEEK_SET };

        return fcntl(fd, F_SETLK, &whole);
}

int lock_take(int fd, int64_t deadline) {
        for (int pause = 1; set(fd, F_WRLCK) < 0; pause = pause < PAUSE_MAX ? 2 * pause : pause) {
                int left = deadline_left(deadline);

                if (errno != EAGAIN && errno != EACCES)
                        return 0;
                if (left == 0)
                        return -EBUSY;
                poll(NULL, 0, pause < left ? pause : left);
        }
        return 0;
}

void lock_release(int fd) {
        set(fd, F_UNLCK);
}
