/* SPDX-License-Identifier: MIT */
/* io/syslog.h - the system's log: /dev/log, in the format of RFC 3164 as syslog(3) has it, facility
 * mail. Unlike syslog(3) it never waits past a deadline, so that a hanging syslogd blocks nobody.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Opens the socket and reads the time zone. Must be called before files and sockets are out of
 * reach. */
void syslog_open(void);

/* Sends a line, and reconnects if syslogd was restarted. Returns 0, -ETIMEDOUT at the deadline, or
 * another negative errno. */
int syslog_send(int priority, const char *text, size_t n, int64_t deadline);
