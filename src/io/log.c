/* io/log.c - the log. */
#include "io/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/deadline.h"
#include "io/fd.h"

enum { LOG_SECONDS = 5 }; /* what a stuck reader of the log can cost us */

static enum log_target current_target = LOG_TO_STDERR;
static bool is_stuck; /* nobody reads it: further lines are not waited for */

void log_open(enum log_target target) {
        current_target = target;
        if (target == LOG_TO_SYSLOG)
                openlog("smtpd", LOG_PID, LOG_MAIL);
}

enum log_target log_current_target(void) {
        return current_target;
}

static void append(struct log_line *l, const char *s, size_t n) {
        static const char dots[] = "...\n";
        size_t room = sizeof(l->text) - sizeof(dots) - l->n;

        if (l->n + sizeof(dots) > sizeof(l->text))
                return; /* it was cut before */
        if (n > room) {
                memcpy(l->text + l->n, s, room);
                memcpy(l->text + l->n + room, dots, sizeof(dots) - 2);
                l->n = sizeof(l->text) - 2;
                return;
        }
        memcpy(l->text + l->n, s, n);
        l->n += n;
}

static bool is_plain(const char *value) {
        for (const char *p = value; *p; p++)
                if (*p <= ' ' || *p > '~' || *p == '"' || *p == '\\')
                        return false;
        return *value != '\0';
}

static void append_escaped(struct log_line *l, const char *value) {
        for (const char *p = value; *p; p++) {
                char escape[5];

                if (*p >= ' ' && *p <= '~' && *p != '"' && *p != '\\')
                        append(l, p, 1);
                else {
                        snprintf(escape, sizeof(escape), "\\x%02x", (unsigned char) *p);
                        append(l, escape, 4);
                }
        }
}

void log_start(struct log_line *l, const char *what) {
        l->n = 0;
        if (current_target == LOG_TO_JOURNAL)
                append(l, "<N>", 3); /* log_send() puts the priority in */
        else if (current_target == LOG_TO_STDERR)
                append(l, "smtpd: ", 7);
        append_escaped(l, what);
}

void log_field(struct log_line *l, const char *key, const char *format, ...) {
        char value[1280];
        const char *quote;
        va_list ap;

        va_start(ap, format);
        vsnprintf(value, sizeof(value), format, ap);
        va_end(ap);
        quote = is_plain(value) ? "" : "\"";
        append(l, " ", 1);
        append(l, key, strlen(key));
        append(l, "=", 1);
        append(l, quote, strlen(quote));
        append_escaped(l, value);
        append(l, quote, strlen(quote));
}

void log_send(struct log_line *l, int priority) {
        if (current_target == LOG_TO_SYSLOG) {
                syslog(priority, "%.*s", (int) l->n, l->text);
                return;
        }
        if (current_target == LOG_TO_JOURNAL)
                l->text[1] = (char) ('0' + priority);
        l->text[l->n++] = '\n';
        is_stuck = fd_write_all(STDERR_FILENO, -1, l->text, l->n, deadline_after(is_stuck ? 0 : LOG_SECONDS)) == -ETIMEDOUT;
}

void log_say(int priority, const char *format, ...) {
        struct log_line l;
        char text[2048];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        log_start(&l, text);
        log_send(&l, priority);
}
