/* SPDX-License-Identifier: MIT */
/* io/notify.c - status for the process that started us. */
#include "io/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "io/fd.h"

static int notify_fd = -1, counter_fd = -1;

static void open_socket(const char *path) {
        /* what a stuck service manager can cost us */
        const struct timeval patience = { .tv_sec = 1 };
        struct sockaddr_un name = { .sun_family = AF_UNIX };
        size_t n = strlen(path);

        if (n < 2 || n > sizeof(name.sun_path) || (*path != '/' && *path != '@'))
                return;
        memcpy(name.sun_path, path, n);
        if (*path == '@') /* an abstract one */
                name.sun_path[0] = '\0';
        notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (notify_fd < 0)
                return;
        setsockopt(notify_fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        (void) connect(notify_fd, (const struct sockaddr *) &name,
                       (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n));
}

void notify_open(void) {
        const char *path = getenv("NOTIFY_SOCKET");

        if (path)
                open_socket(path);
        counter_fd = fd_passed(NOTIFY_COUNTER); /* it does not block */
}

void notify_close(void) {
        fd_close(&notify_fd);
        counter_fd = -1; /* its owner closes it */
}

void notify_count(enum notify_event event) {
        const char octet = (char) event;
        ssize_t n = counter_fd >= 0 ? write(counter_fd, &octet, 1) : 0;

        (void) n; /* a count that is lost is no message that is lost */
}

bool notify_has_acceptor(void) {
        return counter_fd >= 0;
}

bool notify_is_wanted(void) {
        return notify_fd >= 0;
}

void notify_state(const char *state) {
        if (notify_fd >= 0)
                send(notify_fd, state, strlen(state), MSG_NOSIGNAL);
}

void notify_status(const char *format, ...) {
        char line[512] = "STATUS=";
        size_t n = strlen(line);
        va_list ap;

        va_start(ap, format);
        text_format_list(line + n, sizeof(line) - n, format, ap);
        va_end(ap);
        for (char *p = line + n; *p; p++)
                if (*p < ' ' || *p > '~')
                        *p = '?';
        notify_state(line);
}
