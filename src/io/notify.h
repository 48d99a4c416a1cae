/* SPDX-License-Identifier: MIT */
/* io/notify.h - tells whoever started us how we are: the service manager by sd_notify(3)'s
 * protocol, which is a datagram to $NOTIFY_SOCKET; an acceptor of ours by an octet for what it
 * counts.
 *
 * Where there is no such variable, or nobody listens, nothing happens.
 */
#pragma once

#include <stdbool.h>

/* Where the acceptor counts what its sessions do: the number of a descriptor. */
#define NOTIFY_COUNTER "SMTPD_COUNTER_FD"

/* Before the first of the others. */
void notify_open(void);

/* Nobody is told anything any more. */
void notify_close(void);

/* Has the acceptor count this: a message, by its best verdict; a line of the log. */
enum notify_event {
        NOTIFY_2XX = '2',
        NOTIFY_4XX = '4',
        NOTIFY_5XX = '5',
        NOTIFY_REJECTED = 'r',
};
void notify_count(enum notify_event event);

/* Whether an acceptor of ours has started us. */
bool notify_has_acceptor(void);

/* Whether somebody wants to know. */
bool notify_is_wanted(void);

/* Says an assignment, such as "READY=1", or several, each on a line. */
void notify_state(const char *state);

/* Says what `systemctl status` shows: one line, formatted by text_format(). What is not printable
 * ASCII in it is shown as '?'. */
__attribute__((format(printf, 1, 2))) void notify_status(const char *format, ...);
