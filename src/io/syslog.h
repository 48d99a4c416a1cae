/* SPDX-License-Identifier: MIT */
/* io/syslog.h - the system's log: /dev/log, in the format of RFC 3164 as syslog(3) has it, facility
 * mail. Unlike that it never waits longer than it is told: a syslogd that hangs holds up nobody.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Before files and sockets are out of reach: the socket, and the time zone. */
void syslog_open(void);

/* A line. It connects again if syslogd was started anew. Returns 0, -ETIMEDOUT at the deadline, or
 * another negative errno. */
int syslog_send(int priority, const char *text, size_t n, int64_t deadline);
