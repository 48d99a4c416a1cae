/* io/notify.h - tells the service manager how we are: sd_notify(3)'s protocol, which is a datagram to $NOTIFY_SOCKET.
 *
 * Where there is no such variable, or nobody listens, nothing happens.
 */
#pragma once

#include <stdbool.h>

/* Before the first of the others. */
void notify_open(void);

/* Whether somebody wants to know. */
bool notify_is_wanted(void);

/* Says an assignment, such as "READY=1", or several, each on a line. */
void notify_state(const char *state);

/* Says what `systemctl status` shows: one line, put together of strings, of which the last is NULL. What is not printable
 * ASCII in them is shown as '?'. */
__attribute__((sentinel)) void notify_status(const char *first, ...);
