/* SPDX-License-Identifier: MIT */
/* helpers/show_charsets.c - the C library's character sets, by the names that mail has for them. */
#include "helpers/show_charsets.h"

#include <gmime/gmime.h>
#include <stdint.h>
#include <string.h>

#include "base/ascii.h"

bool charsets_is_open(iconv_t cd) {
        return (intptr_t) cd != -1;
}

iconv_t charsets_open(const char *name) {
        iconv_t cd = g_mime_iconv_open("UTF-8", name);

        if (!charsets_is_open(cd) && *name)
                cd = iconv_open("UTF-8", name);
        if (!charsets_is_open(cd) && ascii_is_equal(name, "x-", 2))
                cd = g_mime_iconv_open("UTF-8", name + 2);
        return cd;
}

/* --- loading ---------------------------------------------------------------------------------- */

enum { NAMES_MAX = 24, NAME_ROOM = 41 };

struct names {
        size_t n;
        char name[NAMES_MAX][NAME_ROOM];
        iconv_t handle[NAMES_MAX]; /* open: that keeps the file loaded */
};

static bool is_of_name(char c) {
        return ascii_is_alnum(c) || c == '-' || c == '_' || c == '.' || c == ':';
}

static bool is_known(const struct names *names, const char *name) {
        for (size_t i = 0; i < names->n; i++)
                if (strcmp(names->name[i], name) == 0)
                        return true;
        return false;
}

static void load(struct names *names, const char *name) {
        if (names->n == NAMES_MAX || is_known(names, name))
                return;
        strcpy(names->name[names->n], name);
        names->handle[names->n++] = charsets_open(name);
}

/* The name that begins at `p`. */
static void take(struct names *names, const char *p, const char *end) {
        char name[NAME_ROOM];
        size_t n = 0;

        while (p < end && strchr(" \t\n\"'=", *p) && *p)
                p++;
        for (; p < end && is_of_name(*p) && n + 1 < sizeof(name); p++)
                name[n++] = ascii_lower(*p);
        name[n] = '\0';
        if (n > 0)
                load(names, name);
}

/* Those of RFC 2045 section 5.1 (charset=), RFC 2047 (=?NAME?), RFC 2231 (*=NAME'). No parser: too
 * many do no harm. */
void charsets_load(const char *message, size_t n) {
        static struct names names;
        const char *end = message + n;

        for (const char *p = message; (p = memchr(p, '=', (size_t) (end - p))); p++) {
                size_t before = (size_t) (p - message);

                if (p + 1 < end && p[1] == '?')
                        take(&names, p + 2, end);
                else if ((before > 0 && p[-1] == '*') ||
                         (before >= 7 && ascii_is_equal(p - 7, "charset", 7)))
                        take(&names, p + 1, end);
        }
}
