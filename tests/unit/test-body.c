/* SPDX-License-Identifier: MIT */
/* test-body.c - smtp/body: dots and line ends, from the wire and to it.
 *
 * Both directions are compared with slow references that look at whole lines, for every short text,
 * however it is cut into pieces.
 */
#include "smtp/body.h"

#include <stdio.h>

#include "unit.h"

enum { LONG = 64 }; /* octets that every text here fits in, encoded */

/* The i-th text of n octets over an alphabet. */
static void spell(char *text, size_t n, size_t i, const char *alphabet) {
        size_t base = strlen(alphabet);

        for (size_t k = 0; k < n; k++, i /= base)
                text[k] = alphabet[i % base];
        text[n] = '\0';
}

static size_t power(size_t base, size_t n) {
        return n == 0 ? 1 : base * power(base, n - 1);
}

/* Where the piece that begins at `at` ends: before the next octet whose bit in `cuts` is set, or at
 * n. */
static size_t piece_end(size_t at, size_t n, uint64_t cuts) {
        do
                at++;
        while (at < n && !(cuts & UINT64_C(1) << at));
        return at;
}

/* --- decoding --------------------------------------------------------------------------------- */

enum { LF = 1, COUNTED = 2 }; /* how */

struct decoded {
        enum body_status status;
        size_t used, n;
        uint64_t n_octets;
        char text[LONG];
};

/* Decodes in the pieces that `cuts` says. */
static struct decoded decode(const char *wire, size_t n, uint64_t cuts, int how) {
        struct body_decoder b = { .lf_is_line_end = how & LF, .is_counted = how & COUNTED };
        struct decoded d = { .status = BODY_MORE };

        while (d.used < n && d.status == BODY_MORE) {
                size_t part = piece_end(d.used, n, cuts) - d.used, used, n_decoded;
                char buffer[LONG], *piece = unit_copy(buffer, LONG, wire + d.used, part);

                d.status = body_decode(&b, piece, part, &used, &n_decoded);
                if (used > part || n_decoded > used || (d.status == BODY_MORE && used < part))
                        ck_abort_msg("used %zu of %zu, decoded %zu: %s", used, part, n_decoded,
                                     wire);
                if (memcmp(piece + used, wire + d.used + used, part - used) != 0)
                        ck_abort_msg("what follows the message was changed: %s", wire);
                memcpy(d.text + d.n, piece, n_decoded);
                d.n += n_decoded;
                d.used += used;
        }
        d.n_octets = b.n_octets;
        return d;
}

/* Text of a line, without its added dot. */
static void take_text(struct decoded *d, const char *line, size_t n, int how) {
        size_t dot = n > 0 && line[0] == '.' && !(how & COUNTED);

        memcpy(d->text + d->n, line + dot, n - dot);
        d->n += n - dot;
        d->n_octets += n - dot;
}

static struct decoded stop(struct decoded *d, enum body_status status, size_t used) {
        d->status = status;
        d->used = used;
        return *d;
}

/* The reference: line after line. */
static struct decoded reference(const char *wire, size_t n, int how) {
        const char *line = wire, *end = wire + n;
        struct decoded d = { 0 };

        for (;;) {
                size_t length = strcspn(line, "\r\n");
                const char *stopper = line + length;
                bool is_end = length == 1 && line[0] == '.' && !(how & COUNTED);

                if (stopper == end) { /* a line under way */
                        take_text(&d, line, length, how);
                        return stop(&d, BODY_MORE, n);
                }
                if (!is_end)
                        take_text(&d, line, length, how);
                if (*stopper == '\r' && stopper + 1 == end)
                        return stop(&d, BODY_MORE, n);
                if (*stopper == '\r' && stopper[1] != '\n')
                        return stop(&d, BODY_BARE_CR, (size_t) (stopper - wire) + 2);
                if (*stopper == '\n' && !(how & LF))
                        return stop(&d, BODY_BARE_LF, (size_t) (stopper - wire) + 1);
                line = stopper + (*stopper == '\r' ? 2 : 1);
                if (is_end)
                        return stop(&d, BODY_END, (size_t) (line - wire));
                d.text[d.n++] = '\n';
                d.n_octets += 2;
        }
}

static bool is_same(const struct decoded *a, const struct decoded *b) {
        return a->status == b->status && a->used == b->used && a->n == b->n &&
               a->n_octets == b->n_octets && memcmp(a->text, b->text, a->n) == 0;
}

/* _i: how. Every wire text up to seven octets, cut in every way. */
START_TEST(decodes_as_reference) {
        for (size_t n = 0; n <= 7; n++)
                for (size_t i = 0; i < power(4, n); i += unit_step()) {
                        char wire[LONG];
                        struct decoded want, got;

                        spell(wire, n, i, "a.\r\n");
                        want = reference(wire, n, _i);
                        for (uint64_t cuts = 0; cuts < 1U << n; cuts += 2) {
                                got = decode(wire, n, cuts, _i);
                                if (!is_same(&got, &want))
                                        ck_abort_msg("cuts %#jx: %s", (uintmax_t) cuts, wire);
                        }
                }
}
END_TEST

/* Numbers that look like chance, and are the same every time (Knuth's MMIX). */
static uint64_t next_number(uint64_t *state) {
        *state = *state * 6364136223846793005U + 1442695040888963407U;
        return *state >> 20;
}

/* Longer ones, of pieces that make lines, cut here and there. */
START_TEST(decodes_longer_as_reference) {
        static const char *const pieces[] = { "a",     "text",   ".",     "\r\n", "\r\n",
                                              "\r\n.", "\r\n..", "b\r\n", "\n",   "\r" };
        /* without bare ones it comes further */
        size_t n_pieces = ELEMENTS(pieces) - (_i & 4 ? 2 : 0);
        uint64_t chance = 1;

        for (unsigned i = 0; i < 100000; i += unit_step()) {
                char wire[LONG] = "";
                struct decoded want, got;
                uint64_t cuts;

                while (strlen(wire) < LONG - 5 && (next_number(&chance) & 15) > 0)
                        strcat(wire, pieces[next_number(&chance) % n_pieces]);
                cuts = next_number(&chance) & next_number(&chance) << 20;
                want = reference(wire, strlen(wire), _i & 3);
                got = decode(wire, strlen(wire), cuts, _i & 3);
                if (!is_same(&got, &want))
                        ck_abort_msg("cuts %#jx: %s", (uintmax_t) cuts, wire);
        }
}
END_TEST

static const struct {
        const char *wire;
        size_t n;
        int how;
        enum body_status status;
        size_t used;
        const char *text;
        uint64_t n_octets;
} decode_rows[] = {
        { TEXT(""), 0, BODY_MORE, 0, "", 0 },
        { TEXT(".\r\n"), 0, BODY_END, 3, "", 0 },
        { TEXT(".\n"), LF, BODY_END, 2, "", 0 },
        { TEXT("a\r\n.\r\n"), 0, BODY_END, 6, "a\n", 3 },
        { TEXT("a\r\n.\r\nQUIT\r\n"), 0, BODY_END, 6, "a\n", 3 },
        { TEXT("\r\n\r\n.\r\n"), 0, BODY_END, 7, "\n\n", 4 },
        { TEXT("..\r\n...\r\n..a\r\n.b\r\na.\r\n.\r\n"), 0, BODY_END, 25, ".\n..\n.a\nb\na.\n",
          18 },
        { TEXT(". \r\n.\r\n"), 0, BODY_END, 7, " \n", 3 },
        { TEXT("a\n.\n"), LF, BODY_END, 4, "a\n", 3 },
        { TEXT("a\r\n.\n"), LF, BODY_END, 5, "a\n", 3 },
        { TEXT("a\n.\r\n"), 0, BODY_BARE_LF, 2, "a", 1 },
        { TEXT("a\r\n.\n"), 0, BODY_BARE_LF, 5, "a\n", 3 },
        { TEXT("a\r.\r\n"), 0, BODY_BARE_CR, 3, "a", 1 },
        { TEXT("a\r\r\n"), 0, BODY_BARE_CR, 3, "a", 1 },
        { TEXT("a\r\n.\rb"), 0, BODY_BARE_CR, 6, "a\n", 3 },
        { TEXT("a\r.\r\n"), LF, BODY_BARE_CR, 3, "a", 1 },
        { TEXT("a\r\n."), 0, BODY_MORE, 4, "a\n", 3 },
        { TEXT("a\r\n.\r"), 0, BODY_MORE, 5, "a\n", 3 },
        { TEXT("a\r"), 0, BODY_MORE, 2, "a", 1 },
        { TEXT("..\r\n.\r\n.a"), COUNTED, BODY_MORE, 9, "..\n.\n.a", 9 },
        { TEXT("a\n.\r\n"), COUNTED, BODY_BARE_LF, 2, "a", 1 },
        { TEXT("\x01\x7f\xff\xc3\r\n.\r\n"), 0, BODY_END, 9, "\x01\x7f\xff\xc3\n", 6 },
};

START_TEST(decodes) {
        struct decoded d = decode(decode_rows[_i].wire, decode_rows[_i].n, 0, decode_rows[_i].how);

        ck_assert_int_eq(d.status, decode_rows[_i].status);
        ck_assert_uint_eq(d.used, decode_rows[_i].used);
        ck_assert_str_eq(d.text, decode_rows[_i].text);
        ck_assert_uint_eq(d.n, strlen(decode_rows[_i].text));
        ck_assert_uint_eq(d.n_octets, decode_rows[_i].n_octets);
}
END_TEST

/* --- encoding --------------------------------------------------------------------------------- */

/* Encodes in the pieces that `cuts` says, into buffers of `out_size`, and ends the message. Returns
 * the octets. */
static size_t encode(const char *text, size_t n, uint64_t cuts, size_t out_size,
                     char wire[static LONG]) {
        struct body_encoder b = { 0 };
        size_t n_wire = 0;

        for (size_t at = 0, end = 0; at < n;) {
                char piece[LONG], out[LONG];
                size_t part, used, n_out;

                if (at == end)
                        end = piece_end(at, n, cuts);
                part = end - at;
                n_out = body_encode(&b, unit_copy(piece, LONG, text + at, part), part, &used,
                                    out + LONG - out_size, out_size);
                if (used > part || n_out > out_size || (used == 0 && n_out == 0))
                        ck_abort_msg("used %zu of %zu, wrote %zu of %zu", used, part, n_out,
                                     out_size);
                memcpy(wire + n_wire, out + LONG - out_size, n_out);
                n_wire += n_out;
                at += used;
        }
        strcpy(wire + n_wire, body_end(&b));
        return n_wire + strlen(body_end(&b));
}

/* The reference: line after line, with the final dot. */
static size_t encode_reference(const char *text, char wire[static LONG]) {
        char *out = wire;

        while (*text) {
                int length = (int) strcspn(text, "\n");

                out += sprintf(out, "%s%.*s\r\n", *text == '.' ? "." : "", length, text);
                text += length;
                text += *text == '\n';
        }
        out += sprintf(out, ".\r\n");
        return (size_t) (out - wire);
}

/* CRLF.CRLF stands at the end and nowhere else (the CRLF of DATA is before the first), and no LF is
 * without its CR. */
static bool is_framed(const char *wire) {
        char data[LONG + 3];
        const char *end;

        snprintf(data, sizeof(data), "\r\n%s", wire);
        for (const char *lf = strchr(data, '\n'); lf; lf = strchr(lf + 1, '\n'))
                if (lf[-1] != '\r')
                        return false;
        end = strstr(data, "\r\n.\r\n");
        return end && end[5] == '\0';
}

/* _i is the size of the output buffer. Every text up to six octets, even of CRs, cut in every way.
 */
START_TEST(encodes_as_reference) {
        for (size_t n = 0; n <= 6; n++)
                for (size_t i = 0; i < power(4, n); i += unit_step()) {
                        char text[LONG], want[LONG], got[LONG];
                        size_t n_want;

                        spell(text, n, i, "a.\n\r");
                        n_want = encode_reference(text, want);
                        ck_assert_msg(is_framed(want), "%s", text);
                        for (uint64_t cuts = 0; cuts < 1U << n; cuts += 2)
                                if (encode(text, n, cuts, (size_t) _i, got) != n_want ||
                                    strcmp(got, want) != 0)
                                        ck_abort_msg("cuts %#jx: %s", (uintmax_t) cuts, text);
                }
}
END_TEST

/* decode(encode(t)) = t for text of whole lines, and a last line without LF gets one. */
START_TEST(returns) {
        for (size_t n = 0; n <= 8; n++)
                for (size_t i = 0; i < power(3, n); i += unit_step()) {
                        char text[LONG], wire[LONG];
                        size_t n_wire, n_text = n;
                        struct decoded d;

                        spell(text, n, i, "a.\n");
                        n_wire = encode(text, n, 0, 16, wire);
                        if (n > 0 && text[n - 1] != '\n')
                                text[n_text++] = '\n';
                        for (uint64_t cuts = 0; cuts < 1U << 5; cuts++) {
                                d = decode(wire, n_wire, cuts << (_i * 5), false);
                                if (d.status != BODY_END || d.used != n_wire || d.n != n_text ||
                                    memcmp(d.text, text, n_text) != 0)
                                        ck_abort_msg("cuts %#jx: %s", (uintmax_t) cuts << (_i * 5),
                                                     wire);
                        }
                }
}
END_TEST

static const struct {
        const char *text;
        const char *wire;
} encode_rows[] = {
        { "", ".\r\n" },
        { "a\n", "a\r\n.\r\n" },
        { "a", "a\r\n.\r\n" },
        { "\n", "\r\n.\r\n" },
        { ".\n", "..\r\n.\r\n" },
        { ".", "..\r\n.\r\n" },
        { "..a\n.b\na.\n", "...a\r\n..b\r\na.\r\n.\r\n" },
        { "a\n.\nQUIT\n", "a\r\n..\r\nQUIT\r\n.\r\n" },
        { "\n.\n\n", "\r\n..\r\n\r\n.\r\n" },
        { "\xff\xc3\xa9\n", "\xff\xc3\xa9\r\n.\r\n" },
};

START_TEST(encodes) {
        char wire[LONG];

        for (size_t out_size = 3; out_size <= 16; out_size++) {
                encode(encode_rows[_i].text, strlen(encode_rows[_i].text), 0, out_size, wire);
                ck_assert_str_eq(wire, encode_rows[_i].wire);
        }
}
END_TEST

/* --- both ------------------------------------------------------------------------------------- */

/* Long lines of every octet but CR and LF, through buffers that fit nothing well. */
START_TEST(carries_every_octet) {
        static char text[70001], wire[80000];
        struct body_encoder e = { 0 };
        struct body_decoder d = { 0 };
        size_t n_wire = 0, used, n_decoded, n_lines = 0;

        for (size_t i = 0; i < sizeof(text); i++)
                text[i] = (char) (i % 257);
        for (size_t i = 0; i < sizeof(text); i++)
                if (text[i] == '\r' || text[i] == '\n')
                        text[i] = 'x';
        for (size_t i = 0; i < sizeof(text); i += 10000, n_lines++)
                text[i] = '\n';
        for (size_t at = 0; at < sizeof(text); at += used)
                n_wire += body_encode(&e, text + at, sizeof(text) - at, &used, wire + n_wire, 1021);
        ck_assert_uint_eq(n_wire, sizeof(text) + n_lines);
        strcpy(wire + n_wire, body_end(&e));
        ck_assert_int_eq(body_decode(&d, wire, n_wire + 3, &used, &n_decoded), BODY_END);
        ck_assert_uint_eq(used, n_wire + 3);
        ck_assert_uint_eq(n_decoded, sizeof(text));
        ck_assert_uint_eq(d.n_octets, n_wire);
        ck_assert_mem_eq(wire, text, sizeof(text));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("body");
        TCase *tcase = unit_tcase(suite, "decode");

        tcase_add_loop_test(tcase, decodes_as_reference, 0, 4);
        tcase_add_loop_test(tcase, decodes_longer_as_reference, 0, 8);
        UNIT_TABLE(tcase, decodes, decode_rows);
        tcase = unit_tcase(suite, "encode");
        tcase_add_loop_test(tcase, encodes_as_reference, 3, 9);
        UNIT_TABLE(tcase, encodes, encode_rows);
        tcase = unit_tcase(suite, "both");
        tcase_add_loop_test(tcase, returns, 0, 4);
        tcase_add_test(tcase, carries_every_octet);
        return unit_run(suite);
}
