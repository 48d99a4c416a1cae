/* SPDX-License-Identifier: MIT */
/* helpers/show_entity.c - character references of HTML. */
#include "helpers/show_entity.h"

#include <glib.h>
#include <string.h>

#include "base/array.h"
#include "base/ascii.h"
#include "helpers/show_page.h"

enum { NAME_MAX_LENGTH = 12, NO_BREAK_SPACE = 0xa0, SOFT_HYPHEN = 0xad, ZERO_WIDTH = 0x200b };

/* Those that mail has. */
static const struct {
        const char *name;
        gunichar character;
} entities[] = {
        { "amp", '&' },      { "lt", '<' },        { "gt", '>' },        { "quot", '"' },
        { "apos", '\'' },    { "nbsp", ' ' },      { "shy", 0xad },      { "zwnj", 0x200b },
        { "zwj", 0x200b },   { "copy", 0xa9 },     { "reg", 0xae },      { "trade", 0x2122 },
        { "euro", 0x20ac },  { "pound", 0xa3 },    { "yen", 0xa5 },      { "cent", 0xa2 },
        { "sect", 0xa7 },    { "para", 0xb6 },     { "deg", 0xb0 },      { "plusmn", 0xb1 },
        { "middot", 0xb7 },  { "bull", 0x2022 },   { "hellip", 0x2026 }, { "ndash", 0x2013 },
        { "mdash", 0x2014 }, { "lsquo", 0x2018 },  { "rsquo", 0x2019 },  { "sbquo", 0x201a },
        { "ldquo", 0x201c }, { "rdquo", 0x201d },  { "bdquo", 0x201e },  { "laquo", 0xab },
        { "raquo", 0xbb },   { "lsaquo", 0x2039 }, { "rsaquo", 0x203a }, { "times", 0xd7 },
        { "divide", 0xf7 },  { "frac12", 0xbd },   { "frac14", 0xbc },   { "micro", 0xb5 },
        { "iexcl", 0xa1 },   { "iquest", 0xbf },   { "ordf", 0xaa },     { "ordm", 0xba },
        { "larr", 0x2190 },  { "rarr", 0x2192 },   { "uarr", 0x2191 },   { "darr", 0x2193 },
        { "Auml", 0xc4 },    { "Ouml", 0xd6 },     { "Uuml", 0xdc },     { "auml", 0xe4 },
        { "ouml", 0xf6 },    { "uuml", 0xfc },     { "szlig", 0xdf },    { "Agrave", 0xc0 },
        { "Aacute", 0xc1 },  { "Acirc", 0xc2 },    { "Atilde", 0xc3 },   { "Aring", 0xc5 },
        { "AElig", 0xc6 },   { "Ccedil", 0xc7 },   { "Egrave", 0xc8 },   { "Eacute", 0xc9 },
        { "Ecirc", 0xca },   { "Euml", 0xcb },     { "Iacute", 0xcd },   { "Ntilde", 0xd1 },
        { "Oacute", 0xd3 },  { "Oslash", 0xd8 },   { "Uacute", 0xda },   { "agrave", 0xe0 },
        { "aacute", 0xe1 },  { "acirc", 0xe2 },    { "atilde", 0xe3 },   { "aring", 0xe5 },
        { "aelig", 0xe6 },   { "ccedil", 0xe7 },   { "egrave", 0xe8 },   { "eacute", 0xe9 },
        { "ecirc", 0xea },   { "euml", 0xeb },     { "igrave", 0xec },   { "iacute", 0xed },
        { "icirc", 0xee },   { "iuml", 0xef },     { "ntilde", 0xf1 },   { "ograve", 0xf2 },
        { "oacute", 0xf3 },  { "ocirc", 0xf4 },    { "otilde", 0xf5 },   { "oslash", 0xf8 },
        { "ugrave", 0xf9 },  { "uacute", 0xfa },   { "ucirc", 0xfb },    { "yacute", 0xfd },
        { "oelig", 0x153 },  { "scaron", 0x161 },
};

static bool is_seen(gunichar c) {
        return c != SOFT_HYPHEN && (c < ZERO_WIDTH || c > ZERO_WIDTH + 2) && c != 0xfeff;
}

static gunichar find(const char *name, size_t n) {
        for (size_t i = 0; i < ELEMENTS(entities); i++)
                if (strlen(entities[i].name) == n && memcmp(entities[i].name, name, n) == 0)
                        return entities[i].character;
        return 0;
}

/* In HTML the numbers of C1 are those of Windows-1252. */
static gunichar decode_windows(gunichar c1) {
        char octet = (char) c1, *text = page_decode(&octet, 1, "windows-1252");
        gunichar c = g_utf8_get_char(text);

        g_free(text);
        return c;
}

/* "#252" or "#xfc"; 0: no character. */
static gunichar parse_number(const char *s, size_t n) {
        bool is_hex = n > 1 && ascii_lower(s[1]) == 'x';
        gunichar c = 0;

        for (size_t i = is_hex ? 2 : 1; i < n; i++) {
                int digit = is_hex ? g_ascii_xdigit_value(s[i]) : g_ascii_digit_value(s[i]);

                if (digit < 0 || c > 0x10ffff)
                        return 0;
                c = c * (is_hex ? 16 : 10) + (gunichar) digit;
        }
        if (c >= 0x80 && c < NO_BREAK_SPACE)
                return decode_windows(c);
        return c == NO_BREAK_SPACE ? ' ' : g_unichar_validate(c) ? c : 0;
}

size_t entity_read(const char *s, size_t n, char ret[static ENTITY_MAX]) {
        size_t n_name = 0;
        gunichar c;

        while (1 + n_name < n && n_name < NAME_MAX_LENGTH &&
               (ascii_is_alnum(s[1 + n_name]) || s[1 + n_name] == '#'))
                n_name++;
        c = n_name > 0 && s[1] == '#' ? parse_number(s + 1, n_name) : find(s + 1, n_name);
        if (c == 0)
                return 0;
        ret[is_seen(c) ? g_unichar_to_utf8(c, ret) : 0] = '\0';
        return 1 + n_name + (1 + n_name < n && s[1 + n_name] == ';');
}

char *entity_decode(const char *s, size_t n) {
        GString *out = g_string_sized_new(n);

        for (size_t i = 0, used; i < n; i += used) {
                char text[ENTITY_MAX];

                used = s[i] == '&' ? entity_read(s + i, n - i, text) : 0;
                if (used > 0)
                        g_string_append(out, text);
                else {
                        g_string_append_c(out, s[i]);
                        used = 1;
                }
        }
        return g_string_free(out, FALSE);
}
