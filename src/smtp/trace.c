/* SPDX-License-Identifier: MIT */
/* smtp/trace.c - trace information. RFC 5321 sections 4.4 and 6.3. */
#include "smtp/trace.h"

#include <string.h>

#include "base/ascii.h"
#include "base/text.h"

static const char *const names[] = { "received", "from", "date" };
static const char separator[] = "From "; /* of an mbox: case counts */
enum { N_NAMES = sizeof(names) / sizeof(names[0]), SEPARATOR = 1 << N_NAMES };

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

/* The line may have each of the names that it still agrees with; what comes after a name ends it.
 */
static void scan_name(struct header_scan *h, char c) {
        char in_name = is_blank(c) || c == ':' ? '\0' : ascii_lower(c);

        if (h->column == 0)
                h->candidates = (SEPARATOR - 1) | (h->n_header == 0 ? SEPARATOR : 0);
        for (unsigned i = 0; i < N_NAMES; i++)
                if (h->candidates & 1U << i && in_name != names[i][h->column])
                        h->candidates &= ~(1U << i);
        if (h->candidates & SEPARATOR && c != separator[h->column])
                h->candidates &= ~(unsigned) SEPARATOR;
}

static enum header_line start_value(struct header_scan *h) {
        unsigned *const counts[N_NAMES] = { &h->n_received, &h->n_from, &h->n_date };

        for (unsigned i = 0; i < N_NAMES; i++)
                *counts[i] += h->candidates >> i & 1;
        return HEADER_VALUE;
}

/* The octets of a name are graphic ASCII (RFC 5322 section 3.6.8). */
static enum header_line scan_in_name(struct header_scan *h, char c) {
        if (h->column == 0 && is_blank(c))
                return h->n_header > 0 ? HEADER_VALUE : HEADER_NO_FIELD;
        scan_name(h, c);
        if (c == ':')
                return h->column > 0 ? start_value(h) : HEADER_NO_FIELD;
        if (is_blank(c))
                return HEADER_AFTER_NAME;
        return c > ' ' && c <= '~' ? HEADER_NAME : HEADER_NO_FIELD;
}

static enum header_line scan_after_name(struct header_scan *h, char c) {
        if (c == ':')
                return start_value(h);
        if (is_blank(c))
                return HEADER_AFTER_NAME;
        if (!(h->candidates & SEPARATOR))
                return HEADER_NO_FIELD;
        h->is_mbox = true;
        return HEADER_VALUE;
}

/* Octets of the header section, at most up to the end of the line. */
static void take_octets(struct header_scan *h, size_t n) {
        h->n_header += n;
        if (h->line == HEADER_VALUE)
                h->n_fields = h->n_header;
}

static void scan_octet(struct header_scan *h, char c) {
        if (c == '\n' && h->column == 0) {
                h->is_over = true;
                return;
        }
        if (h->line == HEADER_NAME)
                h->line = scan_in_name(h, c);
        else if (h->line == HEADER_AFTER_NAME)
                h->line = scan_after_name(h, c);
        take_octets(h, 1);
        h->column = c == '\n' ? 0 : h->column + 1;
        if (h->column == 0 && h->line == HEADER_VALUE)
                h->line = HEADER_NAME;
}

void header_scan(struct header_scan *h, const char *text, size_t n) {
        for (size_t at = 0; at < n && !h->is_over; at++) {
                /* the rest of the line means nothing */
                if (h->column > 0 && h->line >= HEADER_VALUE) {
                        const char *lf = memchr(text + at, '\n', n - at);
                        size_t n_rest = lf ? (size_t) (lf - text) - at : n - at;

                        take_octets(h, n_rest);
                        at += n_rest;
                }
                if (at < n)
                        scan_octet(h, text[at]);
        }
}

/* RFC 5321 section 4.4:
 *   "Received:" "from" Domain [ "(" address-literal ")" ] "by" Domain "with" protocol "id" id [
 * "for" Path ] ";" date-time */
static void copy_clean(char *out, size_t room, const char *s, const char *allowed) {
        size_t at = 0;

        for (; *s && at + 1 < room; s++)
                out[at++] = ascii_is_alnum(*s) || strchr(allowed, *s) ? *s : '?';
        out[at] = '\0';
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]", or a comment. */
static void format_address(char *out, size_t room, const char *address) {
        if (strcmp(address, "local") == 0)
                text_format(out, room, "local");
        else
                text_format(out, room, "[%s%s]", strchr(address, ':') ? "IPv6:" : "", address);
}

/* The Gregorian calendar, counted in years that begin with March, so that leap days come last. */
struct date {
        int64_t year;
        int month, day; /* from 0, from 1 */
};

static struct date date_of_days(int64_t days) { /* since 1970-01-01; not before 0000-03-01 */
        /* eras of 400 years */
        int64_t since = days + 719468, era = since / 146097, day = since % 146097;
        int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
        int64_t in_year = day - (365 * year + year / 4 - year / 100),
                month = (5 * in_year + 2) / 153;

        return (struct date) {
                .year = era * 400 + year + (month >= 10),
                .month = (int) (month + 2) % 12,
                .day = (int) (in_year - (153 * month + 2) / 5 + 1),
        };
}

void date_format(int64_t seconds, char out[static DATE_MAX]) {
        static const char days[][4] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" };
        static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
        int64_t day = seconds / 86400;
        int second = (int) (seconds % 86400);
        struct date date = date_of_days(day);

        text_format(out, DATE_MAX, "%s, %d %s %d %02d:%02d:%02d +0000", days[day % 7], date.day,
                    months[date.month], (int) date.year, second / 3600, second / 60 % 60,
                    second % 60);
}

size_t received_format(const struct received *r, char out[static RECEIVED_MAX]) {
        char helo[256], address[80], tls[16], date[DATE_MAX];
        bool is_secure = *r->tls != '\0';

        copy_clean(helo, sizeof(helo), *r->helo ? r->helo : "unknown", "-._:[]");
        format_address(address, sizeof(address), r->address);
        copy_clean(tls, sizeof(tls), r->tls, "-._");
        date_format(r->time, date);
        return text_format(out, RECEIVED_MAX,
                           "Received: from %s (%s)\n\tby %s (smtpd) with %s%s%s%s id %s%s%s%s;\n"
                           "\t%s\n",
                           helo, address, r->hostname, r->protocol, is_secure ? " (" : "", tls,
                           is_secure ? ")" : "", r->id, *r->recipient ? "\n\tfor <" : "",
                           r->recipient, *r->recipient ? ">" : "", date);
}
