/* SPDX-License-Identifier: MIT */
/* test-trace.c - smtp/trace: where the header section and its fields end, and how many Received
 * fields are among them. */
#include "smtp/trace.h"

#include <stdint.h>
#include <stdio.h>
#include <strings.h>

#include "unit.h"

static const struct {
        const char *text;
        size_t n;
        uint64_t n_header;
        unsigned n_received;
        bool is_over;
} ends[] = {
        /* where it ends */
        { TEXT(""), 0, 0, false },
        { TEXT("\n"), 0, 0, true },
        { TEXT("\nReceived: x\n"), 0, 0, true },
        { TEXT("A: b\n"), 5, 0, false },
        { TEXT("A: b"), 4, 0, false },
        { TEXT("A: b\n\n"), 5, 0, true },
        { TEXT("A: b\n\nbody\n"), 5, 0, true },
        { TEXT("A: b\nC: d\n\nbody\n\nmore\n"), 10, 0, true },
        { TEXT("A: b\n \n\nbody\n"), 7, 0, true },
        { TEXT("no header at all\nreally\n"), 24, 0, false },
        { TEXT("A: \0\n\0\n\nbody"), 7, 0, true },
        { TEXT("A: \xc3\xa9\n\n"), 6, 0, true },

        /* what counts */
        { TEXT("Received:\n\n"), 10, 1, true },
        { TEXT("Received:"), 9, 1, false },
        { TEXT("Received: a\nReceived: b\n\n"), 24, 2, true },
        { TEXT("received: a\nRECEIVED: b\nrEcEiVeD: c\n\n"), 36, 3, true },
        { TEXT("A: b\nReceived: a\nC: d\nReceived: b\n\n"), 34, 2, true },
        { TEXT("Received: a\n\tb\n c\n\n"), 18, 1, true },
        { TEXT("Received:Received:Received:\n\n"), 28, 1, true },

        /* what does not */
        { TEXT("Received\n"), 9, 0, false },
        { TEXT("Received\n:\n"), 11, 0, false },
        { TEXT("Receive: a\n"), 11, 0, false },
        { TEXT("Receivedx: a\n"), 13, 0, false },
        { TEXT("Received-SPF: a\n"), 16, 0, false },
        { TEXT("X-Received: a\n"), 14, 0, false },
        { TEXT(" Received: a\n"), 13, 0, false },
        { TEXT("A: b\n Received: a\n\tReceived: b\n\n"), 31, 0, true },
        { TEXT("A: Received: a\n"), 15, 0, false },
        { TEXT("Reeeived: a\n"), 12, 0, false },
        { TEXT("R\0ceived: a\n"), 12, 0, false },
        { TEXT("Received\x1a a\n"), 12, 0, false },
        { TEXT("A: b\n\nReceived: a\nReceived: b\n"), 5, 0, true },
        { TEXT("Received: a\n\nReceived: b\n\nReceived: c\n"), 12, 1, true },
};

/* Its fields, as RFC 5322 has them (with blanks before the colon too: section 4.5.8). */
static const struct {
        const char *text;
        size_t n;
        uint64_t n_fields;
        bool is_mbox;
        unsigned n_received, n_from, n_date;
} fields[] = {
        { TEXT(""), 0, false, 0, 0, 0 },
        { TEXT("\nA: b\n"), 0, false, 0, 0, 0 },
        { TEXT("A: b\n"), 5, false, 0, 0, 0 },
        { TEXT("A: b\n\nC: d\n"), 5, false, 0, 0, 0 },
        { TEXT("A:\nFrom: x\nDATE: y\nreceived:z\n\n"), 30, false, 1, 1, 1 },
        { TEXT("A : b\nFrom \t: x\nReceived\t: y\n"), 29, false, 1, 1, 0 },
        { TEXT("!~: b\n"), 6, false, 0, 0, 0 },
        { TEXT("A: b\n c\n\td: e\n \nF: g\n\n"), 21, false, 0, 0, 0 },

        /* a line that is none */
        { TEXT("no field\nA: b\n"), 0, false, 0, 0, 0 },
        { TEXT("none\nFrom: b\n"), 0, false, 0, 0, 0 },
        { TEXT(" blank: first\nFrom: b\n"), 0, false, 0, 0, 0 },
        { TEXT("\tblank\n"), 0, false, 0, 0, 0 },
        { TEXT(" \nA: b\n"), 0, false, 0, 0, 0 },
        { TEXT(": b\n"), 0, false, 0, 0, 0 },
        { TEXT("A b: c\n"), 0, false, 0, 0, 0 },
        { TEXT("A\x01: c\n"), 0, false, 0, 0, 0 },
        { TEXT("A\0: c\n"), 0, false, 0, 0, 0 },
        { TEXT("A\x7f: c\n"), 0, false, 0, 0, 0 },
        { TEXT("\xc3\xa4: c\n"), 0, false, 0, 0, 0 },
        { TEXT("A: b\nno field\n C: d\nDate: e\n\n"), 5, false, 0, 0, 0 },
        { TEXT("A: b\n c\n: d\n"), 8, false, 0, 0, 0 },

        /* an mbox's separator */
        { TEXT("From a@b Sat Nov 21\nFrom: c\n\n"), 28, true, 0, 1, 0 },
        { TEXT("From \nA: b\n"), 11, true, 0, 0, 0 },
        { TEXT("From  x\n c\nA: b\n"), 16, true, 0, 0, 0 },
        { TEXT("From a: b\n"), 10, true, 0, 0, 0 },
        { TEXT("From x\nFrom y\nA: b\n"), 7, true, 0, 0, 0 },
        { TEXT("A: b\nFrom x\nC: d\n"), 5, false, 0, 0, 0 },
        { TEXT("from here to there\n"), 0, false, 0, 0, 0 },
        { TEXT("From\tx\n"), 0, false, 0, 0, 0 },
        { TEXT("Fro m\n"), 0, false, 0, 0, 0 },
        { TEXT("From\n"), 0, false, 0, 0, 0 },
        { TEXT("Fromx y\n"), 0, false, 0, 0, 0 },
        { TEXT(">From x\n"), 0, false, 0, 0, 0 },
        { TEXT("\nFrom x\n"), 0, false, 0, 0, 0 },
};

/* Scans in pieces of `piece` octets. */
static struct header_scan scan(const char *text, size_t n, size_t piece) {
        struct header_scan h = { 0 };

        for (size_t at = 0; at < n; at += piece) {
                size_t part = n - at < piece ? n - at : piece;
                char buffer[1024];

                header_scan(&h, unit_copy(buffer, sizeof(buffer), text + at, part), part);
        }
        return h;
}

START_TEST(finds) {
        for (size_t piece = 1; piece <= ends[_i].n + 1; piece++) {
                struct header_scan h = scan(ends[_i].text, ends[_i].n, piece);

                ck_assert_uint_eq(h.n_header, ends[_i].n_header);
                ck_assert_uint_eq(h.n_received, ends[_i].n_received);
                ck_assert_int_eq(h.is_over, ends[_i].is_over);
        }
}
END_TEST

START_TEST(finds_fields) {
        for (size_t piece = 1; piece <= fields[_i].n + 1; piece++) {
                struct header_scan h = scan(fields[_i].text, fields[_i].n, piece);

                ck_assert_uint_eq(h.n_fields, fields[_i].n_fields);
                ck_assert_int_eq(h.is_mbox, fields[_i].is_mbox);
                ck_assert_uint_eq(h.n_received, fields[_i].n_received);
                ck_assert_uint_eq(h.n_from, fields[_i].n_from);
                ck_assert_uint_eq(h.n_date, fields[_i].n_date);
        }
}
END_TEST

/* The octets of a line that is a field or continues one, with its LF; 0 if it is neither. */
static size_t field_length(const char *text, bool is_first) {
        size_t n_name = strcspn(text, ":\n \t"), n = strcspn(text, "\n");

        if (strchr(" \t", *text))
                return is_first ? 0 : n + (text[n] == '\n');
        if (n_name == 0 || text[n_name + strspn(text + n_name, " \t")] != ':')
                return 0;
        return n + (text[n] == '\n');
}

/* The same, line by line and without a state. */
static struct header_scan reference(const char *text) {
        struct header_scan h = { 0 };

        while (*text && !h.is_over) {
                size_t n = strcspn(text, "\n"), n_field = field_length(text, h.n_header == 0);

                if (n == 0)
                        h.is_over = true;
                else {
                        if (n_field > 0 && h.n_fields == h.n_header) {
                                h.n_fields += n_field;
                                h.n_received += strncasecmp(text, "Received:", 9) == 0;
                        }
                        n += text[n] == '\n';
                        h.n_header += n;
                        text += n;
                }
        }
        return h;
}

/* Every text of four of these pieces, however it is cut. */
START_TEST(agrees_with_reference) {
        static const char *const pieces[] = { "",  "\n",     "Received:", "rece",      "ived:",
                                              "x", " Rec\n", ": y\n",     "Received\n" };

        for (size_t i = 0; i < 9 * 9 * 9 * 9; i++) {
                char text[64];
                struct header_scan want;
                size_t n =
                        (size_t) snprintf(text, sizeof(text), "%s%s%s%s", pieces[i % 9],
                                          pieces[i / 9 % 9], pieces[i / 81 % 9], pieces[i / 729]);

                want = reference(text);
                for (size_t piece = 1; piece <= n; piece++) {
                        struct header_scan h = scan(text, n, piece);

                        if (h.n_header != want.n_header || h.n_fields != want.n_fields ||
                            h.n_received != want.n_received || h.is_over != want.is_over)
                                ck_abort_msg("in pieces of %zu: \"%s\"", piece, text);
                }
        }
}
END_TEST

/* A long header section of long lines. */
START_TEST(counts_far) {
        static char text[200 * 1000 + 2];
        struct header_scan h;

        memset(text, 'x', sizeof(text));
        for (size_t i = 0; i < 200; i++) {
                memcpy(text + i * 1000, "Received:", 9);
                text[i * 1000 + 999] = '\n';
        }
        text[200 * 1000] = '\n';
        h = scan(text, sizeof(text), 777);
        ck_assert_uint_eq(h.n_received, 200);
        ck_assert_uint_eq(h.n_header, 200 * 1000);
        ck_assert(h.is_over);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("trace");
        TCase *tcase = unit_tcase(suite, "header_scan");

        UNIT_TABLE(tcase, finds, ends);
        UNIT_TABLE(tcase, finds_fields, fields);
        tcase_add_test(tcase, agrees_with_reference);
        tcase_add_test(tcase, counts_far);
        return unit_run(suite);
}
