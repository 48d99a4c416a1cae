/* SPDX-License-Identifier: MIT */
/* smtp/reply.h - SMTP replies as values: build, print, parse, compare.
 *
 * RFC 5321 section 4.2 (codes, lines, texts), RFC 2034 and RFC 3463 (enhanced status codes).
 * Used for replies to clients and for replies from upstreams.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
        REPLY_LINE_MAX = 510,   /* octets of a line, without CRLF (RFC 5321 section 4.5.3.1.5) */
        REPLY_TEXT_MAX = 1000,  /* octets of text we keep, all lines together */
        REPLY_LINES_MAX = 40,   /* lines of text we keep */
        REPLY_WIRE_MAX = 2048,  /* octets on the wire of the longest reply that we keep */
        REPLY_LINES_HEARD = 512 /* lines we listen to before we call it nonsense */
};

/* Whose word it is. */
enum reply_by {
        REPLY_BY_US,
        REPLY_BY_UPSTREAM,
        REPLY_BY_MAILMAN,
        REPLY_BY_PROGRAM,
        REPLY_BY_FILTER,
        REPLY_BY_RULE, /* of the configuration: smtp/match.h */
};

struct reply {
        short code;        /* 200 to 599; 0 is no reply at all */
        char enhanced[12]; /* "5.1.1", or "" where there is none */
        /* printable ASCII; LF between the lines of a reply of several */
        char text[REPLY_TEXT_MAX + 1];
        enum reply_by by;
};

/* Makes a reply of ours. `enhanced` may be "". The text is formatted by text_format(), cut at
 * REPLY_TEXT_MAX, its lines at REPLY_LINE_MAX, and every octet that has no place in a reply becomes
 * '?'. LF separates lines. */
__attribute__((format(printf, 4, 5))) void reply_set(struct reply *ret, int code,
                                                     const char *enhanced, const char *format, ...);

/* A constant reply of ours. */
struct fixed_reply {
        short code;
        char enhanced[6];
        char text[88];
};

void reply_fix(struct reply *ret, const struct fixed_reply *fixed);

/* Prints a reply as it goes over the wire, with CRLF, into `out`, which has room for REPLY_WIRE_MAX
 * octets. Returns the octets written. */
size_t reply_format(const struct reply *r, char out[static REPLY_WIRE_MAX]);

/* A parser for an upstream's replies. It is fed octets as they arrive, and needs bounded memory
 * whatever arrives. Starts zeroed, except for `take` and `taker`; use a new one after REPLY_DONE or
 * REPLY_BAD. */
struct reply_parser {
        struct reply reply; /* what has been read of it so far */
        size_t n_text;      /* octets in reply.text */
        /* gets the text of each line, also of those that do not fit into the reply; NULL: nobody */
        void (*take)(void *taker, const char *text, size_t n);
        void *taker;
        size_t n_lines;                /* lines that have been read */
        bool has_nul;                  /* there was one, maybe in what was dropped */
        size_t n_line;                 /* octets in `line`; what does not fit there is dropped */
        char line[REPLY_LINE_MAX + 1]; /* with CR */
};

enum reply_status {
        REPLY_MORE, /* all was taken; the reply goes on */
        REPLY_DONE, /* parser->reply is complete; the octets after it were not taken */
        /* this is no SMTP reply: no code, different codes on its lines, a NUL, or too many lines */
        REPLY_BAD,
};

/* Takes `*ret_used` of n octets; the rest belongs to what follows the reply. A bare LF ends a line
 * too, which is harmless because a reply frames no message. */
enum reply_status reply_parse(struct reply_parser *p, const char *in, size_t n, size_t *ret_used);

/* Reads a reply of one line, "NNN[ x.y.z][ text]" without its line end; false if it is none. What
 * is beyond REPLY_LINE_MAX is dropped. */
bool reply_parse_line(const char *line, size_t n, struct reply *ret);

/* Turns a permanent refusal, or a 421, into a 451 with an enhanced code of class 4. */
void reply_make_temporary(struct reply *r);

/* "us", "upstream", ... */
const char *reply_author(const struct reply *r);

bool reply_is_same(const struct reply *a, const struct reply *b);

static inline bool reply_is_positive(const struct reply *r) {
        return r->code >= 200 && r->code < 300;
}
static inline bool reply_is_temporary(const struct reply *r) {
        return r->code >= 400 && r->code < 500;
}
static inline bool reply_is_permanent(const struct reply *r) {
        return r->code >= 500;
}

/* Chooses one of two verdicts if only one reply can be given: a temporary failure rather than a
 * permanent one (the client tries again, and nothing is lost), any failure rather than success,
 * otherwise `a`. */
const struct reply *reply_worst(const struct reply *a, const struct reply *b);

/* The better of two verdicts: success, then a temporary failure, otherwise `a`. */
const struct reply *reply_best(const struct reply *a, const struct reply *b);
