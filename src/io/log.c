/* io/log.c - the log. */
#include "io/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "io/deadline.h"
#include "io/fd.h"

enum {
        LOG_SECONDS = 5, /* what a stuck reader of the log can cost us */
        VALUE_MAX = 2048 /* octets of a value */
};

static struct {
        enum log_target target;
        bool is_stuck; /* nobody reads it: further lines are not waited for */
} the_log = { .target = LOG_TO_STDERR };

void log_open(enum log_target target) {
        the_log.target = target;
        if (target == LOG_TO_SYSLOG)
                openlog("smtpd", LOG_PID, LOG_MAIL);
}

enum log_target log_current_target(void) {
        return the_log.target;
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
        return true;
}

static void append_escaped(struct log_line *l, const char *value) {
        static const char digits[] = "0123456789abcdef";

        for (const char *p = value; *p; p++) {
                unsigned char c = (unsigned char) *p;
                char escape[] = { '\\', 'x', digits[c >> 4], digits[c & 15] };

                if (c >= ' ' && c <= '~' && c != '"' && c != '\\')
                        append(l, p, 1);
                else
                        append(l, escape, sizeof(escape));
        }
}

void log_start(struct log_line *l, const char *what) {
        l->n = 0;
        if (the_log.target == LOG_TO_JOURNAL)
                append(l, "<N>", 3); /* log_send() puts the priority in */
        else if (the_log.target == LOG_TO_STDERR)
                append(l, "smtpd: ", 7);
        append_escaped(l, what);
}

void log_field(struct log_line *l, const char *key, const char *format, ...) {
        char value[VALUE_MAX];
        bool is_bare;
        va_list ap;

        va_start(ap, format);
        text_format_list(value, sizeof(value), format, ap);
        va_end(ap);
        is_bare = *value && is_plain(value);
        append(l, " ", 1);
        append(l, key, strlen(key));
        append(l, is_bare ? "=" : "=\"", is_bare ? 1 : 2);
        append_escaped(l, value);
        append(l, "\"", is_bare ? 0 : 1);
}

void log_number(struct log_line *l, const char *key, uint64_t number) {
        log_field(l, key, "%llu", (unsigned long long) number);
}

void log_send(struct log_line *l, int priority) {
        if (the_log.target == LOG_TO_SYSLOG) {
                syslog(priority, "%.*s", (int) l->n, l->text);
                return;
        }
        if (the_log.target == LOG_TO_JOURNAL)
                l->text[1] = (char) ('0' + priority);
        l->text[l->n++] = '\n';
        the_log.is_stuck = fd_write_all(STDERR_FILENO, l->text, l->n, deadline_after(the_log.is_stuck ? 0 : LOG_SECONDS)) == -ETIMEDOUT;
}

void log_say(int priority, const char *format, ...) {
        struct log_line l;
        char text[VALUE_MAX];
        va_list ap;

        va_start(ap, format);
        text_format_list(text, sizeof(text), format, ap);
        va_end(ap);
        log_start(&l, text);
        log_send(&l, priority);
}
