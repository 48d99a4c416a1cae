/* SPDX-License-Identifier: MIT */
/* smtp/body.c - dots and line ends of message text. RFC 5321 sections 2.3.8, 4.1.1.4, 4.5.2.
 *
 *   message = *line "." CRLF      line = [ "." if it begins with one ] text CRLF
 *
 * Most lines are plain: they begin with no dot, and their only CR stands before their LF. Those
 * move as a whole: in blocks where the processor can look at many octets at once, or else found by
 * memchr. Everything else (dots, what a cut left over, mistakes) goes through the state machine,
 * octet by octet.
 */
#include "smtp/body.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* A dot that may end the message, or was added. */
static inline bool is_dot(const struct body_decoder *b, char c) {
        return c == '.' && !b->is_counted;
}

/* One octet. Returns BODY_MORE with `*ret_text` set if it belongs to the text (an LF then stands
 * for a line end). */
static enum body_status step(struct body_decoder *b, char c, bool *ret_text) {
        bool after_cr = b->state == BODY_CR || b->state == BODY_DOT_CR;
        bool after_dot = b->state == BODY_DOT || b->state == BODY_DOT_CR;

        *ret_text = false;
        if (after_cr && c != '\n')
                return BODY_BARE_CR;
        if (c == '\n') {
                if (!after_cr && !b->lf_is_line_end)
                        return BODY_BARE_LF;
                if (after_dot)
                        return BODY_END;
                b->state = BODY_LINE_START;
                *ret_text = true;
        } else if (c == '\r')
                b->state = after_dot ? BODY_DOT_CR : BODY_CR;
        else if (is_dot(b, c) && b->state == BODY_LINE_START)
                b->state = BODY_DOT;
        else {
                b->state = BODY_IN_LINE;
                *ret_text = true;
        }
        return BODY_MORE;
}

/* Where a decoding stands. `out` never overtakes `in`. */
struct cursor {
        const char *in, *end;
        char *out;
        size_t n_lines;
};

#ifdef __SSE2__
enum { BLOCK = 64 };

/* Which octets of a block are `c`: bit i says it of the i-th. */
static inline uint64_t find(const char *block, char c) {
        uint64_t found = 0;

#pragma GCC unroll 4
        for (int i = 0; i < BLOCK; i += 16) {
                __m128i is_c = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *) (block + i)),
                                              _mm_set1_epi8(c));

                found |= (uint64_t) (unsigned) _mm_movemask_epi8(is_c) << i;
        }
        return found;
}

/* Takes one block in which CR and LF only stand together, except what follows a line end before a
 * dot. What moves is always a whole block, of which the next move overwrites what was too much;
 * hence the distance. A CR at its end moves too, and goes with the LF in the next block. Returns
 * false before a dot. */
static inline bool take_block(const struct body_decoder *b, struct cursor *c, uint64_t lf) {
        size_t from = 0;

        memcpy(c->out, c->in, BLOCK);
        for (; lf; lf &= lf - 1) {
                size_t at = (size_t) __builtin_ctzll(lf);

                c->out += (ptrdiff_t) (at - from) - 1;
                memcpy(c->out, c->in + at, BLOCK);
                from = at;
                c->n_lines++;
                if (is_dot(b, c->in[at + 1])) {
                        c->in += at + 1;
                        c->out++;
                        return false;
                }
        }
        c->in += BLOCK;
        c->out += BLOCK - from;
        return true;
}

/* Takes blocks as long as they are plain. To be called at the start of a line or in its text. */
static void take_blocks(struct body_decoder *b, struct cursor *to) {
        struct cursor c = *to;
        bool goes_on = b->state == BODY_IN_LINE || (c.in < c.end && !is_dot(b, *c.in));

        while (goes_on && c.end - c.in >= 2L * BLOCK && c.in - c.out >= BLOCK) {
                uint64_t lf = find(c.in, '\n');

                if (lf != (find(c.in, '\r') << 1 | (c.in[-1] == '\r')))
                        break;
                goes_on = take_block(b, &c, lf);
        }
        if (c.in == to->in)
                return;
        if (c.in[-1] == '\r')
                c.in--, c.out--;
        b->state = c.in[-1] == '\n' ? BODY_LINE_START : BODY_IN_LINE;
        *to = c;
}
#else
static void take_blocks(struct body_decoder *b, struct cursor *c) {
        (void) b, (void) c;
}
#endif

/* Takes a plain line, or returns false. To be called at the start of a line. */
static bool take_plain_line(const struct body_decoder *b, struct cursor *c) {
        const char *lf = is_dot(b, *c->in) ? NULL : memchr(c->in, '\n', (size_t) (c->end - c->in));
        size_t n = lf ? (size_t) (lf - c->in) : 0;

        if (n == 0 || lf[-1] != '\r' || memchr(c->in, '\r', n - 1))
                return false;
        memmove(c->out, c->in, n - 1);
        c->out[n - 1] = '\n';
        c->out += n;
        c->in = lf + 1;
        c->n_lines++;
        return true;
}

/* Takes octets of a line that mean nothing by themselves. */
static void take_text(struct cursor *c) {
        size_t n = (size_t) (c->end - c->in);
        const char *lf = memchr(c->in, '\n', n), *cr;

        if (lf)
                n = (size_t) (lf - c->in);
        cr = memchr(c->in, '\r', n);
        if (cr)
                n = (size_t) (cr - c->in);
        memmove(c->out, c->in, n);
        c->out += n;
        c->in += n;
}

enum body_status body_decode(struct body_decoder *b, char *data, size_t n, size_t *ret_used,
                             size_t *ret_decoded) {
        struct cursor c = { .in = data, .end = data + n, .out = data };
        enum body_status status = BODY_MORE;

        while (c.in < c.end && status == BODY_MORE) {
                bool is_text;
                char octet;

                if (b->state == BODY_LINE_START || b->state == BODY_IN_LINE)
                        take_blocks(b, &c);
                if (b->state == BODY_LINE_START && take_plain_line(b, &c))
                        continue;
                if (b->state == BODY_IN_LINE)
                        take_text(&c);
                if (c.in == c.end)
                        break;
                octet = *c.in++;
                status = step(b, octet, &is_text);
                if (is_text)
                        *c.out++ = octet;
                c.n_lines += is_text && octet == '\n';
        }
        *ret_used = (size_t) (c.in - data);
        *ret_decoded = (size_t) (c.out - data);
        b->n_octets += *ret_decoded + c.n_lines;
        return status;
}

size_t body_encode(struct body_encoder *b, const char *in, size_t n, size_t *ret_used, char *out,
                   size_t out_size) {
        size_t used = 0, at = 0;

        while (used < n && out_size - at >= 3) { /* 3: an added dot, or an octet, and CRLF */
                const char *lf = memchr(in + used, '\n', n - used);
                size_t run = lf ? (size_t) (lf - in) - used : n - used;

                if (!b->in_line && in[used] == '.')
                        out[at++] = '.';
                if (run > out_size - at - 2)
                        run = out_size - at - 2, lf = NULL;
                memcpy(out + at, in + used, run);
                at += run;
                used += run;
                b->in_line = true;
                if (lf) {
                        memcpy(out + at, "\r\n", 2);
                        at += 2;
                        used++;
                        b->in_line = false;
                }
        }
        *ret_used = used;
        return at;
}

const char *body_end(const struct body_encoder *b) {
        return b->in_line ? "\r\n.\r\n" : ".\r\n";
}
