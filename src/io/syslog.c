/* SPDX-License-Identifier: MIT */
/* io/syslog.c - the system's log (RFC 3164). */
#include "io/syslog.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "io/fd.h"
#include "io/wall_clock.h"

enum { LINE_ROOM = 4096 + 64 };

static struct {
        int fd;
        int type; /* of the socket */
} syslogd = { .fd = -1 };

/* 0 or a negative errno. */
static int connect_as(int type) {
        const struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
        int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0 || connect(fd, (const struct sockaddr *) &name, sizeof(name)) < 0) {
                int error = errno;

                if (fd >= 0)
                        close(fd);
                return -error;
        }
        syslogd.fd = fd;
        syslogd.type = type;
        return 0;
}

static int connect_again(void) {
        int r;

        if (syslogd.fd >= 0)
                close(syslogd.fd);
        syslogd.fd = -1;
        r = connect_as(SOCK_DGRAM);
        return r == -EPROTOTYPE ? connect_as(SOCK_STREAM) : r;
}

void syslog_open(void) {
        tzset();
        connect_again(); /* who is not there yet may come */
}

/* "<22>Nov 27 08:05:09 smtpd[123]: text" */
static size_t format(char *line, int priority, const char *text, size_t n) {
        static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        time_t now = (time_t) wall_clock_seconds();
        struct tm t = { 0 };

        localtime_r(&now, &t);
        return text_format(line, LINE_ROOM, "<%d>%.*s %s%d %02d:%02d:%02d " PROGRAM "[%d]: %.*s",
                           LOG_MAIL | priority, 3, &months[3 * (size_t) t.tm_mon],
                           t.tm_mday < 10 ? " " : "", t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec,
                           (int) getpid(), (int) n, text);
}

static int send_line(const char *line, size_t n, int64_t deadline) {
        bool is_stream = syslogd.type == SOCK_STREAM; /* there a NUL is the end */

        return syslogd.fd < 0 ? -ENOTCONN : fd_write_all(syslogd.fd, line, n + is_stream, deadline);
}

int syslog_send(int priority, const char *text, size_t n, int64_t deadline) {
        char line[LINE_ROOM];
        size_t length = format(line, priority, text, n);
        int r = send_line(line, length, deadline);

        if (r < 0 && r != -ETIMEDOUT && connect_again() == 0)
                r = send_line(line, length, deadline);
        return r;
}
