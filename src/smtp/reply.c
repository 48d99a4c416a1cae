/* SPDX-License-Identifier: MIT */
/* smtp/reply.c - SMTP replies as values. RFC 5321 section 4.2, RFC 2034, RFC 3463. */
#include "smtp/reply.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include "base/ascii.h"
#include "base/text.h"

/* Reply texts are printable ASCII (RFC 5321 section 4.2: textstring), here with LF between lines.
 * What makes a line too long is dropped. */
static void clean(struct reply *r) {
        size_t room = REPLY_LINE_MAX - 4 - (*r->enhanced ? strlen(r->enhanced) + 1 : 0);
        size_t n_lines = 1, n = 0; /* octets in the line */
        char *out = r->text;

        for (const char *in = r->text; *in; in++)
                if (*in == '\n' && n_lines < REPLY_LINES_MAX) {
                        n_lines++;
                        n = 0;
                        *out++ = '\n';
                } else if (n++ < room)
                        *out++ = *in < ' ' || *in > '~' ? '?' : *in;
        *out = '\0';
}

void reply_set(struct reply *ret, int code, const char *enhanced, const char *format, ...) {
        va_list ap;

        assert(code >= 200 && code <= 599);
        assert(strlen(enhanced) < sizeof(ret->enhanced));
        ret->code = (short) code;
        ret->by = REPLY_BY_US;
        strcpy(ret->enhanced, enhanced);
        va_start(ap, format);
        text_format_list(ret->text, sizeof(ret->text), format, ap);
        va_end(ap);
        clean(ret);
}

void reply_fix(struct reply *ret, const struct fixed_reply *fixed) {
        ret->code = fixed->code;
        ret->by = REPLY_BY_US;
        strcpy(ret->enhanced, fixed->enhanced);
        strcpy(ret->text, fixed->text);
}

size_t reply_format(const struct reply *r, char out[static REPLY_WIRE_MAX]) {
        size_t n_enhanced = strlen(r->enhanced);
        const char *line = r->text, *end;
        char *at = out;

        do {
                end = strchrnul(line, '\n');
                assert(out + REPLY_WIRE_MAX - at > end - line + (ptrdiff_t) n_enhanced + 8);
                at += text_format(at, (size_t) (out + REPLY_WIRE_MAX - at), "%u%c%s%s%.*s\r\n",
                                  (unsigned) r->code, *end ? '-' : ' ', r->enhanced,
                                  n_enhanced > 0 && end > line ? " " : "", (int) (end - line),
                                  line);
                line = end + 1;
        } while (*end);
        return (size_t) (at - out);
}

/* class "." subject "." detail, RFC 3463 section 2: "5.1.1" has length 5; 0 if there is none. */
static size_t enhanced_length(const char *s, size_t n) {
        size_t at = 1;

        if (n < 5 || (s[0] != '2' && s[0] != '4' && s[0] != '5'))
                return 0;
        for (int i = 0; i < 2; i++) {
                size_t digits = 0;

                if (at >= n || s[at++] != '.')
                        return 0;
                for (; at < n && digits < 3 && ascii_is_digit(s[at]); at++)
                        digits++;
                if (digits == 0)
                        return 0;
        }
        return at == n || s[at] == ' ' ? at : 0;
}

/* One line of a reply: Reply-code [ ("-" / SP) [ enhanced SP ] textstring ] */
struct line {
        int code;
        bool last;
        const char *enhanced, *text;
        size_t n_enhanced, n_text;
};

static bool split_line(const char *s, size_t n, struct line *ret) {
        if (n < 3 || s[0] < '2' || s[0] > '5' || !ascii_is_digit(s[1]) || !ascii_is_digit(s[2]))
                return false;
        if (n > 3 && s[3] != ' ' && s[3] != '-')
                return false;
        *ret = (struct line) {
                .code = (s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0'),
                .last = n == 3 || s[3] == ' ',
                .enhanced = n > 4 ? s + 4 : s + n,
        };
        n -= (size_t) (ret->enhanced - s);
        ret->n_enhanced = enhanced_length(ret->enhanced, n);
        ret->text = ret->enhanced + ret->n_enhanced;
        ret->n_text = n - ret->n_enhanced;
        if (ret->n_enhanced > 0 && ret->n_text > 0)
                ret->text++, ret->n_text--; /* the blank between them */
        /* it contradicts the code (RFC 2034 section 4): dropped */
        if (ret->n_enhanced > 0 && ret->enhanced[0] != s[0])
                ret->n_enhanced = 0;
        return true;
}

static void start_reply(struct reply *ret, const struct line *l) {
        ret->code = (short) l->code;
        ret->by = REPLY_BY_US;
        memcpy(ret->enhanced, l->enhanced, l->n_enhanced);
        ret->enhanced[l->n_enhanced] = '\0';
        ret->text[0] = '\0';
}

bool reply_parse_line(const char *line, size_t n, struct reply *ret) {
        struct line l;

        if (memchr(line, '\0', n))
                return false;
        if (!split_line(line, n < REPLY_LINE_MAX ? n : REPLY_LINE_MAX, &l) || !l.last)
                return false;
        start_reply(ret, &l);
        memcpy(ret->text, l.text, l.n_text);
        ret->text[l.n_text] = '\0';
        clean(ret);
        return true;
}

static void append_text(struct reply_parser *p, const struct line *l) {
        size_t room = REPLY_TEXT_MAX - p->n_text, n;

        if (p->n_lines > REPLY_LINES_MAX || room == 0)
                return;
        if (p->n_lines > 1)
                p->reply.text[p->n_text++] = '\n', room--;
        n = l->n_text < room ? l->n_text : room;
        memcpy(p->reply.text + p->n_text, l->text, n);
        p->n_text += n;
        p->reply.text[p->n_text] = '\0';
}

static enum reply_status take_line(struct reply_parser *p) {
        struct line l;

        if (p->n_line > 0 && p->line[p->n_line - 1] == '\r')
                p->n_line--;
        if (p->n_line > REPLY_LINE_MAX)
                p->n_line = REPLY_LINE_MAX;
        if (p->has_nul || !split_line(p->line, p->n_line, &l))
                return REPLY_BAD;
        if (++p->n_lines == 1)
                start_reply(&p->reply, &l);
        else if (l.code != p->reply.code || p->n_lines > REPLY_LINES_HEARD)
                return REPLY_BAD;
        append_text(p, &l);
        if (p->take)
                p->take(p->taker, l.text, l.n_text);
        p->n_line = 0;
        if (!l.last)
                return REPLY_MORE;
        clean(&p->reply);
        return REPLY_DONE;
}

enum reply_status reply_parse(struct reply_parser *p, const char *in, size_t n, size_t *ret_used) {
        for (size_t used = 0; used < n;) {
                const char *part = in + used, *lf = memchr(part, '\n', n - used);
                size_t n_part = lf ? (size_t) (lf - part) : n - used;
                size_t room = sizeof(p->line) - p->n_line, n_kept = n_part < room ? n_part : room;
                enum reply_status status;

                used += n_part + (lf != NULL);
                *ret_used = used;
                p->has_nul |= memchr(part, '\0', n_part) != NULL;
                memcpy(p->line + p->n_line, part, n_kept);
                p->n_line += n_kept;
                if (lf && (status = take_line(p)) != REPLY_MORE)
                        return status;
        }
        *ret_used = n;
        return REPLY_MORE;
}

void reply_make_temporary(struct reply *r) {
        r->code = 451;
        if (*r->enhanced)
                *r->enhanced = '4';
}

const char *reply_author(const struct reply *r) {
        static const char *const names[] = {
                [REPLY_BY_US] = "us",           [REPLY_BY_UPSTREAM] = "upstream",
                [REPLY_BY_MAILMAN] = "mailman", [REPLY_BY_PROGRAM] = "program",
                [REPLY_BY_FILTER] = "filter",   [REPLY_BY_RULE] = "rule",
        };

        return names[r->by];
}

bool reply_is_same(const struct reply *a, const struct reply *b) {
        return a->code == b->code && strcmp(a->enhanced, b->enhanced) == 0 &&
               strcmp(a->text, b->text) == 0;
}

const struct reply *reply_worst(const struct reply *a, const struct reply *b) {
        if (reply_is_temporary(a) || !reply_is_temporary(b))
                if (!reply_is_positive(a) || reply_is_positive(b))
                        return a;
        return b;
}

const struct reply *reply_best(const struct reply *a, const struct reply *b) {
        return b->code / 100 < a->code / 100 ? b : a;
}
