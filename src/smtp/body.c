/* smtp/body.c - dots and line ends of message text. RFC 5321 sections 2.3.8, 4.1.1.4, 4.5.2.
 *
 *   message = *line "." CRLF      line = [ "." if it begins with one ] text CRLF
 *
 * Most octets are the text of a line: they move in runs, found by memchr. The few that mean something (CR, LF,
 * and the first of a line) go through the state machine, one at a time.
 */
#include "smtp/body.h"

#include <string.h>

/* The octets up to the first CR or LF. Looking for LF first keeps both searches inside one line. */
static size_t run_length(const char *s, size_t n) {
        const char *lf = memchr(s, '\n', n), *cr;

        if (lf)
                n = (size_t) (lf - s);
        cr = memchr(s, '\r', n);
        return cr ? (size_t) (cr - s) : n;
}

/* One octet, which is a CR, an LF, or the first of a line. Returns BODY_MORE with `*ret_text` set if it belongs to
 * the text (an LF then stands for a line end). */
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
        else if (c == '.' && b->state == BODY_LINE_START)
                b->state = BODY_DOT;
        else {
                b->state = BODY_IN_LINE;
                *ret_text = true;
        }
        return BODY_MORE;
}

enum body_status body_decode(struct body_decoder *b, char *data, size_t n, size_t *ret_used, size_t *ret_decoded) {
        enum body_status status = BODY_MORE;
        const char *in = data, *end = data + n;
        char *out = data;
        size_t n_lines = 0;

        while (in < end && status == BODY_MORE) {
                bool is_text;
                char c = *in++;

                status = step(b, c, &is_text);
                if (is_text)
                        *out++ = c;
                if (is_text && c == '\n')
                        n_lines++;
                if (b->state == BODY_IN_LINE) {
                        size_t run = run_length(in, (size_t) (end - in));

                        memmove(out, in, run);
                        out += run;
                        in += run;
                }
        }
        *ret_used = (size_t) (in - data);
        *ret_decoded = (size_t) (out - data);
        b->n_octets += *ret_decoded + n_lines;
        return status;
}

size_t body_encode(struct body_encoder *b, const char *in, size_t n, size_t *ret_used, char *out, size_t out_size) {
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
