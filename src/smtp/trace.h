/* SPDX-License-Identifier: MIT */
/* smtp/trace.h - what a server reads from the header section and adds to it: Received.
 *
 * RFC 5321 sections 4.4 (trace information) and 6.3 (loops).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a line of the header section is, as far as it was read. */
enum header_line {
        HEADER_NAME,       /* the name of a field, perhaps */
        HEADER_AFTER_NAME, /* and blanks after it (RFC 5322 section 4.5.3), or the "From " of an
                              mbox */
        HEADER_VALUE,      /* a field, or the continuation of one */
        HEADER_NO_FIELD,   /* the fields have ended */
};

/* Scans a message as it arrives and finds the end of its header section. Starts zeroed. */
struct header_scan {
        /* octets before the first empty line; of the whole text as long as there is none */
        uint64_t n_header;
        /* octets of the fields at its beginning: fewer, if a line before the empty one is no
         * field */
        uint64_t n_fields;
        unsigned n_received; /* Received fields among them: the hops that the message has made */
        unsigned n_from, n_date;
        bool is_mbox; /* its first line is "From ...", as in an mbox, and counts as a field */
        bool is_over; /* the empty line was found */

        /* its own business: what the line is, which column of it we are in, and which of the names
         * it may still have */
        enum header_line line;
        unsigned column;
        unsigned candidates;
};

/* Takes the next octets of the text (LF line ends). */
void header_scan(struct header_scan *h, const char *text, size_t n);

enum { HOPS_MAX = 100, RECEIVED_MAX = 3072 };

/* The parts of a Received field. Empty strings are left out; octets that are not allowed in a
 * header field become '?'. */
struct received {
        const char *helo, *address; /* of the client; address "local" where there is none */
        const char *hostname;       /* ours */
        const char *protocol;       /* ESMTP, ... */
        const char *tls;            /* the version of TLS, for a comment */
        const char *id;
        const char *recipient; /* the only one; "" where there are several */
        int64_t time;          /* seconds since 1970 */
};

enum { DATE_MAX = 48 };

/* A date-time of RFC 5322 section 3.3, in UTC, of seconds since 1970. */
void date_format(int64_t seconds, char out[static DATE_MAX]);

/* Formats the field, folded, with an LF after each line, and a NUL. Returns the number of octets.
 */
size_t received_format(const struct received *r, char out[static RECEIVED_MAX]);
