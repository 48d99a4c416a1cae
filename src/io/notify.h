/* SPDX-License-Identifier: MIT */
/* io/notify.h - status for the process that started us: for the service manager by the protocol of
 * sd_notify(3), a datagram to $NOTIFY_SOCKET; for our acceptor by one octet per event, which it
 * counts.
 *
 * Without these variables, and if nobody listens, the functions do nothing.
 */
#pragma once

#include <stdbool.h>

/* Where the acceptor counts what its sessions do: the number of a descriptor. */
#define NOTIFY_COUNTER "SMTPD_COUNTER_FD"

/* Must be called before the other functions. */
void notify_open(void);

/* Ends all notifications. */
void notify_close(void);

/* Events that the acceptor counts: a message, by its best verdict; a `rejected` line of the log. */
enum notify_event {
        NOTIFY_2XX = '2',
        NOTIFY_4XX = '4',
        NOTIFY_5XX = '5',
        NOTIFY_REJECTED = 'r',
};
void notify_count(enum notify_event event);

/* Whether our acceptor started this session. */
bool notify_has_acceptor(void);

/* Whether the service manager wants to be notified. */
bool notify_is_wanted(void);

/* Sends an assignment, such as "READY=1", or several, one on each line. */
void notify_state(const char *state);

/* Sets the status that `systemctl status` shows: one line, formatted by text_format(). Characters
 * other than printable ASCII become '?'. */
__attribute__((format(printf, 1, 2))) void notify_status(const char *format, ...);
