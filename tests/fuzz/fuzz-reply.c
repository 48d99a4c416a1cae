/* SPDX-License-Identifier: MIT */
/* fuzz/fuzz-reply.c - replies of an upstream: whole and cut they read the same, and what was read
 * can be said. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Feeds it in pieces, each in memory of exactly its size. */
static enum reply_status feed(struct reply_parser *p, const char *in, size_t n, size_t piece,
                              size_t *ret_used) {
        enum reply_status status = REPLY_MORE;

        memset(p, 0, sizeof(*p));
        for (*ret_used = 0; status == REPLY_MORE && *ret_used < n;) {
                size_t part = n - *ret_used < piece ? n - *ret_used : piece, used = 0;
                char *copy = malloc(part);

                memcpy(copy, in + *ret_used, part);
                status = reply_parse(p, copy, part, &used);
                free(copy);
                assert(used <= part && (status != REPLY_MORE || used == part));
                *ret_used += used;
        }
        return status;
}

static void check_reply(const struct reply *r) {
        unsigned n_lines = 1;

        assert(r->code >= 200 && r->code <= 599);
        assert(strlen(r->enhanced) < sizeof(r->enhanced) &&
               (!*r->enhanced || r->enhanced[0] == '0' + r->code / 100));
        assert(strspn(r->enhanced, "0123456789.") == strlen(r->enhanced));
        assert(strlen(r->text) <= REPLY_TEXT_MAX);
        for (const char *s = r->text; *s; s++) {
                assert(*s == '\n' || (*s >= ' ' && *s <= '~'));
                n_lines += *s == '\n';
        }
        assert(n_lines <= REPLY_LINES_MAX);
}

/* Each line of it has the code, and only the last has no dash. */
static void check_wire(const char *wire, size_t n) {
        for (size_t at = 0; at < n;) {
                const char *lf = memchr(wire + at, '\n', n - at);
                size_t next;

                assert(lf && lf > wire + at && lf[-1] == '\r');
                next = (size_t) (lf - wire) + 1;
                assert(next - at >= 6 && next - at <= 512 && memcmp(wire + at, wire, 3) == 0);
                assert(wire[at + 3] == (next == n ? ' ' : '-'));
                assert(memchr(wire + at, '\r', n - at) == lf - 1);
                at = next;
        }
}

/* A reply that is said is heard. */
static void check_said(const struct reply *r) {
        char wire[REPLY_WIRE_MAX];
        struct reply_parser again;
        size_t n, used;

        check_reply(r);
        n = reply_format(r, wire);
        assert(n > 0 && n <= REPLY_WIRE_MAX);
        check_wire(wire, n);
        assert(feed(&again, wire, n, SIZE_MAX, &used) == REPLY_DONE && used == n);
        assert(again.reply.code == r->code &&
               (!*r->enhanced || strcmp(again.reply.enhanced, r->enhanced) == 0));
        check_reply(&again.reply);
}

static void fuzz_parse(const char *in, size_t n, size_t piece) {
        static struct reply_parser whole, pieces;
        size_t used, used_pieces;
        enum reply_status status = feed(&whole, in, n, SIZE_MAX, &used);

        assert(feed(&pieces, in, n, piece, &used_pieces) == status);
        assert(status == REPLY_MORE || used == used_pieces);
        if (status != REPLY_DONE)
                return;
        assert(in[used - 1] == '\n');
        assert(memcmp(&whole.reply.code, &pieces.reply.code, sizeof(whole.reply.code)) == 0);
        assert(strcmp(whole.reply.enhanced, pieces.reply.enhanced) == 0);
        assert(strcmp(whole.reply.text, pieces.reply.text) == 0);
        check_said(&whole.reply);
}

static void fuzz_line(const char *in, size_t n) {
        struct reply r;
        const char *lf = memchr(in, '\n', n);

        if (reply_parse_line(in, lf ? (size_t) (lf - in) : n, &r))
                check_said(&r);
}

static void fuzz_set(const char *in, size_t n) {
        static const char *const enhanced[] = { "", "2.0.0", "4.123.456", "5.5.1" };
        static const int codes[] = { 250, 250, 451, 550 };
        char *text = strndup(in, n);
        struct reply r, other;

        for (size_t i = 0; i < 4; i++) {
                reply_set(&r, codes[i], enhanced[i], "%s", text);
                check_said(&r);
                reply_set(&other, codes[3 - i], "", "other");
                assert(reply_worst(&r, &other)->code == reply_worst(&other, &r)->code);
                assert(!reply_is_positive(reply_worst(&r, &other)) ==
                       (!reply_is_positive(&r) || !reply_is_positive(&other)));
        }
        free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        const char *in = (const char *) data + 1;

        if (n < 1)
                return 0;
        fuzz_parse(in, n - 1, data[0] % 64U + 1);
        fuzz_line(in, n - 1);
        fuzz_set(in, n - 1);
        return 0;
}
