/* SPDX-License-Identifier: MIT */
/* fork.c - the floor, and a fork(2) that lives as long as it: what a process beside a session has
 * to cost. */
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
        char octet;
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
                return 1;
        switch (fork()) {
        case -1: return 1;
        case 0: close(pair[0]); return read(pair[1], &octet, 1) != 0;
        }
        close(pair[1]);
        shutdown(pair[0], SHUT_WR);
        return read(pair[0], &octet, 1) != 0; /* it has ended */
}
