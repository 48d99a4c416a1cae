/* io/log.h - the log: one line with fields, "what key=value key="a value with blanks"".
 *
 * It goes to standard error; with "<N>" priorities (sd-daemon(3)) when that is the journal; to syslog(3), facility mail,
 * when standard error is closed or is the client's connection, as under inetd. Nothing in a value can end the line or
 * begin a field: quotes, backslashes, control and non-ASCII octets are escaped as \xHH.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <syslog.h> /* LOG_INFO and the other priorities */

enum log_target { LOG_TO_STDERR = 1, LOG_TO_JOURNAL, LOG_TO_SYSLOG };

/* Before the first line. */
void log_open(enum log_target target);
enum log_target log_current_target(void);

struct log_line {
        size_t n;
        char text[4096]; /* PIPE_BUF: a line is written in one piece. Longer ones are cut, with "..." */
};

/* A line that begins with `what`, fields after it, and off it goes. Values are formatted by text_format(). */
void log_start(struct log_line *l, const char *what);
__attribute__((format(printf, 3, 4))) void log_field(struct log_line *l, const char *key, const char *format, ...);
void log_number(struct log_line *l, const char *key, uint64_t number);
void log_send(struct log_line *l, int priority);

/* A line of words for people. */
__attribute__((format(printf, 2, 3))) void log_say(int priority, const char *format, ...);
