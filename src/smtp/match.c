/* SPDX-License-Identifier: MIT */
/* smtp/match.c - rules for the steps of a session. */
#include "smtp/match.h"

#include <string.h>

#include "base/array.h"
#include "base/ascii.h"
#include "base/text.h"
#include "smtp/address.h"

/* --- the pattern ------------------------------------------------------------------------------ */

/* Octets of the character at the beginning of a text that is not empty. */
static size_t character(const char *s) {
        size_t n = utf8_length(s, strnlen(s, 4));

        return n > 0 ? n : 1;
}

/* If it fails after a star, that star takes one more character. Those before it need not: what they
 * could take, the last one can. */
bool match_is_like(const char *text, const char *pattern, size_t n_pattern) {
        const char *p = pattern, *end = pattern + n_pattern;
        const char *after_star = NULL, *taken = NULL;

        while (*text)
                if (p < end && *p == '*') {
                        after_star = ++p;
                        taken = text;
                } else if (p < end && *p == '?') {
                        p++;
                        text += character(text);
                } else if (p < end && ascii_lower(*p) == ascii_lower(*text)) {
                        p++;
                        text++;
                } else if (after_star) {
                        p = after_star;
                        taken += character(taken);
                        text = taken;
                } else
                        return false;
        while (p < end && *p == '*')
                p++;
        return p == end;
}

/* --- the rule --------------------------------------------------------------------------------- */

static size_t word_length(const char *s) {
        return strcspn(s, " \t");
}

static const char *next_word(const char *word) {
        const char *end = word + word_length(word);

        return end + strspn(end, " \t");
}

bool match_read(const char *text, struct match_rule *ret) {
        static const char *const steps[] = {
                [MATCH_CONNECT] = "connect", [MATCH_HELO] = "helo", [MATCH_MAIL] = "mail",
                [MATCH_RCPT] = "rcpt",       [MATCH_DATA] = "data", [MATCH_MESSAGE] = "message",
        };
        size_t n = word_length(text), i = 0;

        while (i < ELEMENTS(steps) && !(strlen(steps[i]) == n && memcmp(steps[i], text, n) == 0))
                i++;
        ret->step = (enum match_step) i;
        ret->pattern = next_word(text);
        ret->n_pattern = word_length(ret->pattern);
        ret->action = next_word(ret->pattern);
        return i < ELEMENTS(steps) && *ret->action;
}

enum { TEXT_MAX = REPLY_LINE_MAX - sizeof("5.7.1") }; /* as config/rules.c and smtpd(8) say */

/* Printable ASCII, not too much of it. */
static bool is_line(const char *s) {
        size_t n = 0;

        while (s[n] >= ' ' && s[n] <= '~')
                n++;
        return n <= TEXT_MAX && s[n] == '\0';
}

/* Of an enhanced code of another class than the code's nothing is left. */
static bool is_whole(const struct reply *r, const char *line) {
        return *r->enhanced || strlen(r->text) == strlen(line) - 4;
}

bool match_read_reply(const struct match_rule *r, struct reply *ret) {
        const char *line = r->action;

        if (!is_line(line) || !reply_parse_line(line, strlen(line), ret) || ret->code < 400)
                return false;
        if (*ret->text == '\0' || *ret->text == ' ' || !is_whole(ret, line))
                return false;
        if (!*ret->enhanced)
                text_format(ret->enhanced, sizeof(ret->enhanced), "%c.7.1", line[0]);
        ret->by = REPLY_BY_RULE;
        return true;
}

bool match_read_seconds(const struct match_rule *r, uint64_t max, uint64_t *ret) {
        return ascii_parse_number(r->action, max, ret) && *ret > 0;
}
