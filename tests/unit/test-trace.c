/* test-trace.c - smtp/trace: where the header section ends, and how many Received fields are in it. */
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
} rows[] = {
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
        for (size_t piece = 1; piece <= rows[_i].n + 1; piece++) {
                struct header_scan h = scan(rows[_i].text, rows[_i].n, piece);

                ck_assert_uint_eq(h.n_header, rows[_i].n_header);
                ck_assert_uint_eq(h.n_received, rows[_i].n_received);
                ck_assert_int_eq(h.is_over, rows[_i].is_over);
        }
}
END_TEST

/* The same, line by line and without a state. */
static struct header_scan reference(const char *text) {
        struct header_scan h = { 0 };

        while (*text && !h.is_over) {
                size_t n = strcspn(text, "\n");

                if (n == 0)
                        h.is_over = true;
                else {
                        n += text[n] == '\n';
                        h.n_header += n;
                        h.n_received += strncasecmp(text, "Received:", 9) == 0;
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
                size_t n = (size_t) snprintf(text, sizeof(text), "%s%s%s%s", pieces[i % 9], pieces[i / 9 % 9],
                                             pieces[i / 81 % 9], pieces[i / 729]);

                want = reference(text);
                for (size_t piece = 1; piece <= n; piece++) {
                        struct header_scan h = scan(text, n, piece);

                        if (h.n_header != want.n_header || h.n_received != want.n_received || h.is_over != want.is_over)
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

        UNIT_TABLE(tcase, finds, rows);
        tcase_add_test(tcase, agrees_with_reference);
        tcase_add_test(tcase, counts_far);
        return unit_run(suite);
}
