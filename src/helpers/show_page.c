/* SPDX-License-Identifier: MIT */
/* helpers/show_page.c - the page that is shown. */
#include "helpers/show_page.h"

#include <errno.h>
#include <gmime/gmime.h>
#include <stdbool.h>
#include <string.h>

#include "base/array.h"
#include "base/display.h"
#include "helpers/show_charsets.h"

/* --- character sets --------------------------------------------------------------------------- */

/* What Windows-1252 has in the place of C1; 0: nothing. */
static const gunichar c1_of_windows[] = {
        0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178,
};

static char *decode_windows(const char *text, size_t n) {
        GString *s = g_string_sized_new(n + n / 8);

        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char) text[i];
                gunichar windows = c >= 0x80 && c < 0xa0 ? c1_of_windows[c - 0x80] : c;

                g_string_append_unichar(s, windows || c == 0 ? windows : 0xfffd);
        }
        return g_string_free(s, FALSE);
}

/* As UTF-8, or in the only set that takes anything. NUL becomes a space. */
static char *decode_guess(const char *text, size_t n) {
        char *copy = g_malloc(n + 1);

        if (n > 0)
                memcpy(copy, text, n);
        copy[n] = '\0';
        for (size_t i = 0; i < n; i++)
                if (!text[i])
                        copy[i] = ' ';
        if (!g_utf8_validate(copy, (gssize) n, NULL)) {
                char *decoded = decode_windows(copy, n);

                g_free(copy);
                return decoded;
        }
        return copy;
}

/* Whether guessing does as well. US-ASCII is said of all that is not known. */
static bool is_guessed(const char *charset) {
        static const char *const names[] = { "us-ascii",     "ascii",      "ansi_x3.4-1968",
                                             "unknown-8bit", "iso-8859-1", "latin1",
                                             "windows-1252", "utf-8" };

        for (size_t i = 0; i < ELEMENTS(names); i++)
                if (g_ascii_strcasecmp(charset, names[i]) == 0)
                        return true;
        return false;
}

/* The octets of a character of ISO-2022-JP, such as one of the many that only Microsoft has. */
static size_t length_in_japanese(const char *line, const char *at, size_t n) {
        enum { LINE_LENGTH_MAX = 998 }; /* so that a long line takes no time */
        size_t before =
                (size_t) (at - line) < LINE_LENGTH_MAX ? (size_t) (at - line) : LINE_LENGTH_MAX;
        const char *escape = memrchr(at - before, '\033', before);

        return n > 1 && *at > ' ' && at[1] > ' ' && escape && escape[1] == '$' ? 2 : 1;
}

/* Converts what it can; leaves out a character where it cannot. */
static void convert(iconv_t cd, char *in, size_t n, bool is_japanese, GString *out) {
        const char *line = in;

        while (n > 0) {
                char buffer[4096], *to = buffer;
                size_t room = sizeof(buffer), r = iconv(cd, &in, &n, &to, &room), n_bad;

                g_string_append_len(out, buffer, (gssize) (sizeof(buffer) - room));
                if (r != (size_t) -1 || errno == E2BIG)
                        continue;
                g_string_append_unichar(out, 0xfffd);
                n_bad = is_japanese ? length_in_japanese(line, in, n) : 1;
                in += n_bad;
                n -= n_bad;
        }
}

/* Each line of ISO-2022-JP begins in ASCII (RFC 1468), whatever is wrong with the one before. */
static void convert_lines(iconv_t cd, char *in, size_t n, GString *out) {
        for (size_t n_line; n > 0; in += n_line, n -= n_line) {
                char *lf = memchr(in, '\n', n);

                n_line = lf ? (size_t) (lf - in) + 1 : n;
                iconv(cd, NULL, NULL, NULL, NULL);
                convert(cd, in, n_line, true, out);
        }
}

char *page_decode(const char *text, size_t n, const char *charset) {
        GString *out;
        char *decoded;
        iconv_t cd;

        if (!charset || is_guessed(charset))
                return decode_guess(text, n);
        cd = charsets_open(charset);
        if (!charsets_is_open(cd))
                return decode_guess(text, n);
        out = g_string_sized_new(n);
        if (g_ascii_strncasecmp(charset, "iso-2022-jp", 11) == 0)
                convert_lines(cd, (char *) text, n, out);
        else
                convert(cd, (char *) text, n, false, out);
        iconv_close(cd);
        decoded = decode_guess(out->str, out->len);
        g_string_free(out, TRUE);
        return decoded;
}

/* --- what is put on the page ------------------------------------------------------------------ */

/* Nothing that is written there obeys the text. */
static void put_safe(GString *page, const char *text, size_t n) {
        enum { PIECE = 4096 };
        static char shown[DISPLAY_ROOM(PIECE)];
        struct display d = { .kind = DISPLAY_TERMINAL };

        for (size_t part; n > 0; text += part, n -= part) {
                part = n < PIECE ? n : PIECE;
                g_string_append_len(page, shown, (gssize) display_text(&d, text, part, shown));
        }
}

/* Each run of blanks and line ends becomes one blank; there are none at the ends. */
static void unfold(char *value) {
        char *to = value;

        for (const char *from = value; *from; from++)
                if (!strchr(" \t\r\n", *from))
                        *to++ = *from;
                else if (to > value && to[-1] != ' ')
                        *to++ = ' ';
        while (to > value && to[-1] == ' ')
                to--;
        *to = '\0';
}

void page_field(GString *page, const char *name, const char *value) {
        char *line = page_decode(value, strlen(value), NULL);

        unfold(line);
        if (*line) {
                g_string_append_printf(page, "%s: ", name);
                put_safe(page, line, strlen(line));
                g_string_append_c(page, '\n');
        }
        g_free(line);
}

/* CR LF becomes LF; a CR that is alone stays, and is shown. */
static size_t unify_line_ends(char *text, size_t n) {
        char *to = text;

        for (size_t i = 0; i < n; i++)
                if (text[i] != '\r' || i + 1 == n || text[i + 1] != '\n')
                        *to++ = text[i];
        return (size_t) (to - text);
}

void page_text(GString *page, const char *text, size_t n) {
        char *copy = g_strndup(text, n), *begin = copy;

        n = unify_line_ends(copy, n);
        while (n > 0 && strchr(" \t\n", copy[n - 1]))
                n--;
        for (; n > 0 && *begin == '\n'; begin++)
                n--;
        put_safe(page, begin, n);
        if (n > 0)
                g_string_append_c(page, '\n');
        g_free(copy);
}
