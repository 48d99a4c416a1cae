/* SPDX-License-Identifier: MIT */
/* io/log.h - the log: one line with fields, "what key=value key="a value with blanks"".
 *
 * It goes to standard error; with "<N>" priorities (sd-daemon(3)) when that is the journal; to
 * /dev/log, facility mail, when standard error is closed or is the client's connection, as under
 * inetd. Nothing in a value can end the line or begin a field: quotes, backslashes, control and
 * non-ASCII octets are escaped as \xHH. Nothing that others say can push a field out of the line:
 * values are limited in length as written, and longer ones end with "..." inside their quotes.
 *
 * A line never waits for long: a tenth of a second for the end of another session's message
 * (io/lock.h), after which it is written without the lock; and some seconds for a slow reader of
 * the log.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <syslog.h> /* LOG_INFO and the other priorities */

#include "io/peer.h"

enum log_target { LOG_TO_STDERR = 1, LOG_TO_JOURNAL, LOG_TO_SYSLOG };

/* Must be called before the first line, and before files and sockets are out of reach. */
void log_open(enum log_target target);

/* From now on no line waits for other processes that write to the log (in the acceptor all clients
 * would wait). */
void log_be_quick(void);

enum log_target log_current_target(void);

enum {
        /* octets of a client's words as they are written, with their quotes */
        LOG_CHOSEN_MAX = 256,
        LOG_SAID_MAX = 512, /* replies of others */
};

struct log_line {
        size_t n;
        char text[4096]; /* PIPE_BUF: a line is written in one piece */
};

/* A line that begins with `what`, fields after it, and off it goes. Values are formatted by
 * text_format(): log_field() for ours, log_chosen() for what a client chose, log_said() for the
 * reply of somebody else. What others say has no place in `what`; and what a client chose comes
 * after all other fields. */
void log_start(struct log_line *l, const char *what);
#define LOG_FIELD(name)                                                                            \
        __attribute__((format(printf, 3, 4))) void name(struct log_line *l, const char *key,       \
                                                        const char *format, ...)
LOG_FIELD(log_field);
LOG_FIELD(log_chosen);
LOG_FIELD(log_said);
void log_number(struct log_line *l, const char *key, uint64_t number);
void log_peer(struct log_line *l, const struct peer *p); /* peer, and port, uid, via if known */
void log_send(struct log_line *l, int priority);

/* Whether a value of LOG_CHOSEN_MAX still fits, with its key. */
bool log_has_room(const struct log_line *l);

/* Logs a text for people. Text from others must not be in it: use fields for that. */
__attribute__((format(printf, 2, 3))) void log_say(int priority, const char *format, ...);
