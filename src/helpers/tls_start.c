/* SPDX-License-Identifier: MIT */
/* helpers/tls_start.c - a program that asks for TLS by itself (UCSPI-TLS,
 * http://www.suspectclass.com/~sgifford/ucspi-tls/). */
#include "helpers/tls_start.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/text.h"
#include "io/fd.h"
#include "io/log.h"

enum { CONTROL = 3, CLEAR = 4, HIGH = 10 };

static int fail(const char *what) {
        log_say(LOG_ERR, "smtpd-tls: cannot %s: %s", what, strerror(errno));
        return EX_TEMPFAIL;
}

static void set_variable(const char *name, int fd) {
        char number[16];

        text_format(number, sizeof(number), "%d", fd);
        setenv(name, number, 1);
}

/* In the place of whoever was started: its end is that of the program. */
static int become_program(char **argv, const int control[static 2], const int clear[static 2]) {
        close(control[1]);
        close(clear[1]);
        setenv("UCSPITLS", "",
               0); /* there is TLS to be had; with a value it says what the program is to do */
        set_variable("SSLCTLFD", control[0]);
        set_variable("SSLREADFD", clear[0]);
        set_variable("SSLWRITEFD", clear[0]);
        execvp(argv[0], argv);
        log_say(LOG_ERR, "smtpd-tls: cannot run %s: %s", argv[0], strerror(errno));
        return EX_TEMPFAIL;
}

/* Nobody waits for it. */
static int become_engine(int control, int clear, bool *ret_is_silent) {
        char order;
        ssize_t n;

        setsid();
        if (dup2(control, HIGH) < 0 || dup2(clear, HIGH + 1) < 0 || dup2(HIGH, CONTROL) < 0 ||
            dup2(HIGH + 1, CLEAR) < 0)
                return fail("set up descriptors");
        fd_close_range(CLEAR + 1, 0);
        while ((n = read(CONTROL, &order, 1)) < 0 && errno == EINTR)
                ;
        if (n <= 0 || (order != 'Y' && order != 'y'))
                _exit(EX_OK);
        *ret_is_silent = order == 'y';
        return TLS_STARTED;
}

int tls_start(char **argv, bool *ret_is_silent) {
        int control[2], clear[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_STREAM, 0, control) < 0 ||
            socketpair(AF_UNIX, SOCK_STREAM, 0, clear) < 0)
                return fail("create sockets");
        pid = fork();
        if (pid < 0)
                return fail("fork");
        return pid > 0 ? become_program(argv, control, clear)
                       : become_engine(control[1], clear[1], ret_is_silent);
}
