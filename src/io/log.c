/* SPDX-License-Identifier: MIT */
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
#include "io/lock.h"
#include "io/syslog.h"

enum {
        LOG_SECONDS = 5,  /* what a stuck reader of the log can cost us */
        LOCK_WAIT = 100,  /* milliseconds that a line waits for the end of somebody's message */
        VALUE_MAX = 1280, /* octets of a value before they are escaped */
        TEXT_MAX = 4096,  /* of words for people */
};

static struct {
        enum log_target target;
        bool is_stuck;  /* nobody reads it: further lines are not waited for */
        bool is_shared; /* others may write there, too */
        int lock_wait;
} the_log = { .target = LOG_TO_STDERR };

void log_open(enum log_target target) {
        the_log.target = target;
        the_log.lock_wait = LOCK_WAIT;
        the_log.is_shared = target != LOG_TO_SYSLOG && !fd_is_null(STDERR_FILENO);
        if (target == LOG_TO_SYSLOG)
                syslog_open();
}

void log_be_quick(void) {
        the_log.lock_wait = 0;
}

enum log_target log_current_target(void) {
        return the_log.target;
}

/* One more is for the line's end. */
static size_t room(const struct log_line *l) {
        return sizeof(l->text) - 1 - l->n;
}

static void append(struct log_line *l, const char *s, size_t n) {
        memcpy(l->text + l->n, s, n);
        l->n += n;
}

static bool is_plain_octet(char c) {
        return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

static bool is_plain(const char *value) {
        for (const char *p = value; *p; p++)
                if (!is_plain_octet(*p) || *p == ' ')
                        return false;
        return *value != '\0';
}

static size_t escaped_length(const char *value) {
        size_t n = 0;

        for (const char *p = value; *p; p++)
                n += is_plain_octet(*p) ? 1 : 4;
        return n;
}

/* As much as fits into `max` octets as they are written, then "..." if that is not all. */
static void append_escaped(struct log_line *l, const char *value, size_t max) {
        static const char digits[] = "0123456789abcdef", dots[] = "...";
        bool is_cut = escaped_length(value) > max;
        size_t end = l->n + max - (is_cut ? sizeof(dots) - 1 : 0);

        for (const char *p = value; *p; p++) {
                unsigned char c = (unsigned char) *p;
                char escape[] = { '\\', 'x', digits[c >> 4], digits[c & 15] };
                size_t n = is_plain_octet(*p) ? 1 : sizeof(escape);

                if (l->n + n > end)
                        break;
                append(l, n == 1 ? p : escape, n);
        }
        if (is_cut)
                append(l, dots, sizeof(dots) - 1);
}

void log_start(struct log_line *l, const char *what) {
        l->n = 0;
        if (the_log.target == LOG_TO_JOURNAL)
                append(l, "<N>", 3); /* log_send() puts the priority in */
        else if (the_log.target == LOG_TO_STDERR)
                append(l, PROGRAM ": ", sizeof(PROGRAM ": ") - 1);
        append_escaped(l, what, room(l));
}

/* A field that has no room for anything is left out, so that the others can be told from it. */
static void append_field(struct log_line *l, const char *key, const char *value, size_t max) {
        size_t n_key = strlen(key), n_least = n_key + sizeof(" =\"...\"") - 1, n = strlen(value);

        if (room(l) < n_least)
                return;
        append(l, " ", 1);
        append(l, key, n_key);
        append(l, "=", 1);
        max = max < room(l) ? max : room(l);
        if (is_plain(value) && n <= max) {
                append(l, value, n);
                return;
        }
        append(l, "\"", 1);
        append_escaped(l, value, max - 2);
        append(l, "\"", 1);
}

/* A value that is too long even before it is written is cut, and seen to be. */
__attribute__((format(printf, 4, 0))) static void
format_field(struct log_line *l, const char *key, size_t max, const char *format, va_list ap) {
        static const char dots[] = "...";
        char value[VALUE_MAX + sizeof(dots)];

        if (text_format_list(value, VALUE_MAX + 1, format, ap) == VALUE_MAX)
                memcpy(value + VALUE_MAX, dots, sizeof(dots));
        append_field(l, key, value, max);
}

void log_field(struct log_line *l, const char *key, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        format_field(l, key, sizeof(l->text), format, ap);
        va_end(ap);
}

void log_chosen(struct log_line *l, const char *key, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        format_field(l, key, LOG_CHOSEN_MAX, format, ap);
        va_end(ap);
}

void log_said(struct log_line *l, const char *key, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        format_field(l, key, LOG_SAID_MAX, format, ap);
        va_end(ap);
}

void log_peer(struct log_line *l, const struct peer *p) {
        log_field(l, "peer", "%s", p->address);
        if (*p->port)
                log_field(l, "port", "%s", p->port);
        if (p->uid >= 0)
                log_number(l, "uid", (uint64_t) p->uid);
        if (*p->via)
                log_field(l, "via", "%s", p->via);
}

bool log_has_room(const struct log_line *l) {
        return room(l) > LOG_CHOSEN_MAX + 40;
}

void log_number(struct log_line *l, const char *key, uint64_t number) {
        log_field(l, key, "%llu", (unsigned long long) number);
}

/* Between the messages that others show there, if they do not take too long. */
static int write_line(const char *line, size_t n, int64_t deadline) {
        int64_t until = deadline_now() + the_log.lock_wait;
        bool is_locked = the_log.is_shared && lock_take(STDERR_FILENO, NULL, until) == 0;
        int r = fd_write_all(STDERR_FILENO, line, n, deadline);

        if (is_locked)
                lock_release(STDERR_FILENO);
        return r;
}

void log_send(struct log_line *l, int priority) {
        int64_t deadline = deadline_after(the_log.is_stuck ? 0 : LOG_SECONDS);
        int r;

        if (the_log.target == LOG_TO_SYSLOG)
                r = syslog_send(priority, l->text, l->n, deadline);
        else {
                if (the_log.target == LOG_TO_JOURNAL)
                        l->text[1] = (char) ('0' + priority);
                l->text[l->n++] = '\n';
                r = write_line(l->text, l->n, deadline);
        }
        the_log.is_stuck = r == -ETIMEDOUT;
}

void log_say(int priority, const char *format, ...) {
        struct log_line l;
        char text[TEXT_MAX];
        va_list ap;

        va_start(ap, format);
        text_format_list(text, sizeof(text), format, ap);
        va_end(ap);
        log_start(&l, text);
        log_send(&l, priority);
}
