/* SPDX-License-Identifier: MIT */
/* smtp/body.h - the message between DATA and the final dot: dots and line ends, in both directions.
 * Also the chunks of BDAT (RFC 3030), in which a dot is text.
 *
 * RFC 5321 sections 2.3.8 (only CRLF ends a line), 4.1.1.4 (only CRLF.CRLF ends a message)
 * and 4.5.2 (transparency). Inside smtpd a message has LF line ends and no added dots. For text t
 * without CR that ends in LF, or is empty: decode(encode(t)) = t.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From the wire to LF lines. Starts as { .lf_is_line_end = ..., .is_counted = ... }. */
struct body_decoder {
        bool lf_is_line_end; /* a transcript: a bare LF ends a line too */
        bool is_counted;     /* it comes in chunks: a dot is text, and no BODY_END comes */
        enum { BODY_LINE_START, BODY_IN_LINE, BODY_CR, BODY_DOT, BODY_DOT_CR } state;
        uint64_t n_octets; /* size so far as RFC 1870 counts it: CRLF line ends, no added dots */
};

enum body_status {
        BODY_MORE,    /* all was taken, the message goes on */
        BODY_END,     /* the final dot's line was taken; what follows is no longer the message */
        BODY_BARE_CR, /* a CR that no LF follows */
        BODY_BARE_LF, /* an LF after no CR */
};

/* Decodes in place. Of `n` octets, `*ret_used` are consumed; `data` then begins with their decoded
 * form of `*ret_decoded` octets, never more than were consumed. A message can be cut at any octet.
 */
enum body_status body_decode(struct body_decoder *b, char *data, size_t n, size_t *ret_used,
                             size_t *ret_decoded);

/* From LF lines to the wire. Starts zeroed. */
struct body_encoder {
        bool in_line; /* the last octet was not an LF */
};

/* Encodes as much of `in` as fits into `out`. Returns the number of octets written, and sets
 * `*ret_used` to the number read. `out_size` is at least 3. */
size_t body_encode(struct body_encoder *b, const char *in, size_t n, size_t *ret_used, char *out,
                   size_t out_size);

/* What ends the message after the last octet of text. */
const char *body_end(const struct body_encoder *b);
