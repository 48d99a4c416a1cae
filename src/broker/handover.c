/* SPDX-License-Identifier: MIT */
/* broker/handover.c - starts a TLS engine for the session's connection. */
#include "broker/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/array.h"
#include "broker/child.h"
#include "io/fd.h"

/* As smtpd-tls(8) has them. */
static const int numbers[] = { 0, 3, 4 };

enum { OUT_OF_THE_WAY = 8 };

bool handover_is_socket(int fd) {
        int type = 0;
        socklen_t n = sizeof(type);

        return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM;
}

static bool arrange_descriptors(const int fds[static ELEMENTS(numbers)]) {
        int moved[ELEMENTS(numbers)];

        for (size_t i = 0; i < ELEMENTS(numbers); i++)
                if ((moved[i] = fcntl(fds[i], F_DUPFD, OUT_OF_THE_WAY)) < 0)
                        return false;
        for (size_t i = 0; i < ELEMENTS(numbers); i++)
                if (dup2(moved[i], numbers[i]) < 0)
                        return false;
        return fd_close_range(5, 0) == 0;
}

/* In the child, between vfork(2) and execve(2): a group of its own, which no terminal
 * interrupts. */
static void become_engine(const char *path, char *const *argv, const struct passed *passed,
                          volatile int *ret_error) {
        setpgid(0, 0);
        child_clear_signals();
        if (arrange_descriptors(passed->fds) && chdir("/") == 0)
                execve(path, argv, environ);
        *ret_error = errno;
        _exit(EX_TEMPFAIL);
}

int handover_start(const char *path, char *const *argv, const struct passed *passed) {
        volatile int error = 0;
        pid_t pid = vfork();

        if (pid == 0)
                become_engine(path, argv, passed, &error);
        return pid < 0 ? -errno : -error;
}
