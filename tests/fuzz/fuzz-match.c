/* SPDX-License-Identifier: MIT */
/* fuzz/fuzz-match.c - rules of reply= and delay=: a pattern matches what a table of all its
 * beginnings and all those of the text says, and no rule can say anything but one line of 4xx or
 * 5xx.
 *
 * The input is a text, a NUL, and a rule; the pattern is that of the rule, or all of it if it is
 * none. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "smtp/address.h"
#include "smtp/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { TEXT_MAX = 300 };

/* Whether the first `i` octets of the pattern match the first `k` of the text, for each i and k. */
static bool is_meant(const char *text, const char *pattern, size_t n_pattern) {
        static bool is_like[TEXT_MAX + 1][TEXT_MAX + 1];
        size_t n_text = strlen(text);

        memset(is_like, 0, sizeof(is_like));
        is_like[0][0] = true;
        for (size_t i = 0; i < n_pattern; i++)
                for (size_t k = 0; k <= n_text; k++) { /* a pattern may have half a character */
                        size_t n = k < n_text ? utf8_length(text + k, n_text - k) : 1;
                        size_t step = (pattern[i] == '*' || pattern[i] == '?') && n > 0 ? n : 1;

                        if (pattern[i] == '*') {
                                is_like[i + 1][k] |= is_like[i][k];
                                if (k < n_text)
                                        is_like[i + 1][k + step] |= is_like[i + 1][k];
                        } else if (k < n_text && (pattern[i] == '?' ||
                                                  ascii_lower(pattern[i]) == ascii_lower(text[k])))
                                is_like[i + 1][k + step] |= is_like[i][k];
                }
        return is_like[n_pattern][n_text];
}

static void check_reply(const struct match_rule *rule) {
        char wire[REPLY_WIRE_MAX];
        struct reply r;
        size_t n;

        if (!match_read_reply(rule, &r))
                return;
        n = reply_format(&r, wire);
        assert(r.code >= 400 && r.code <= 599 && r.enhanced[0] == '0' + r.code / 100 &&
               r.by == REPLY_BY_RULE);
        assert(n <= REPLY_LINE_MAX + 2 && memchr(wire, '\n', n) == wire + n - 1 &&
               wire[n - 2] == '\r' && wire[3] == ' ');
        for (size_t i = 0; i + 2 < n; i++)
                assert(wire[i] >= ' ' && wire[i] <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        const char *in = (const char *) data, *nul = memchr(in, '\0', n);
        size_t n_text = nul ? (size_t) (nul - in) : n, n_rule = nul ? n - n_text - 1 : 0;
        char *text = strndup(in, n_text), *rule = strndup(in + n - n_rule, n_rule);
        struct match_rule r = { .step = MATCH_HELO };
        uint64_t seconds;

        if (match_read(rule, &r)) {
                assert(r.n_pattern > 0 && *r.action);
                check_reply(&r);
                assert(!match_read_seconds(&r, 100, &seconds) || (seconds > 0 && seconds <= 100));
        } else {
                r.pattern = rule;
                r.n_pattern = strlen(rule);
        }
        if (strlen(text) <= TEXT_MAX && r.n_pattern <= TEXT_MAX)
                assert(match_is_like(text, r.pattern, r.n_pattern) ==
                       is_meant(text, r.pattern, r.n_pattern));
        free(text);
        free(rule);
        return 0;
}
