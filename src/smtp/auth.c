/* SPDX-License-Identifier: MIT */
/* smtp/auth.c - AUTH: base64, and the names of mechanisms. RFC 4954, RFC 4422 section 3.1. */
#include "smtp/auth.h"

#include <string.h>

#include "base/array.h"
#include "base/ascii.h"

/* --- base64 ----------------------------------------------------------------------------------- */

/* Of a digit; 64 if it is none. */
static unsigned value_of(char c) {
        if (c >= 'A' && c <= 'Z')
                return (unsigned) (c - 'A');
        if (c >= 'a' && c <= 'z')
                return (unsigned) (c - 'a') + 26;
        if (ascii_is_digit(c))
                return (unsigned) (c - '0') + 52;
        return c == '+' ? 62 : c == '/' ? 63 : 64;
}

bool auth_is_base64(const char *s, size_t n) {
        size_t n_digits = n;

        while (n_digits > 0 && n - n_digits < 2 && s[n_digits - 1] == '=')
                n_digits--;
        for (size_t i = 0; i < n_digits; i++)
                if (value_of(s[i]) == 64)
                        return false;
        return n % 4 == 0;
}

size_t auth_decode(const char *s, size_t n, char *out) {
        unsigned bits = 0;
        size_t n_out = 0;

        for (size_t i = 0; i < n && s[i] != '='; i++) {
                bits = bits << 6 | value_of(s[i]);
                if (i % 4 > 0)
                        out[n_out++] = (char) (bits >> (6 - 2 * (i % 4)) & 0xff);
        }
        return n_out;
}

/* --- mechanisms ------------------------------------------------------------------------------- */

bool auth_is_mechanism(const char *s, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (!ascii_is_alnum(s[i]) && s[i] != '-' && s[i] != '_')
                        return false;
        return n > 0 && n <= AUTH_MECHANISM_MAX;
}

static bool is_word(const char *s, size_t n, const char *word) {
        return strlen(word) == n && ascii_is_equal(s, word, n);
}

/* Those bind to the connection, or to the server's name, and the client has ours. */
static bool is_bound(const char *s, size_t n) {
        static const char *const bound[] = { "EXTERNAL", "GSSAPI", "GSS-SPNEGO", "NTLM" };
        size_t n_plus = strlen("-PLUS");

        for (size_t i = 0; i < ELEMENTS(bound); i++)
                if (is_word(s, n, bound[i]))
                        return true;
        return n > n_plus && is_word(s + n - n_plus, n_plus, "-PLUS");
}

/* The word at `*at`, after blanks; its octets, 0 at the end. */
static size_t next_word(const char *s, size_t n, size_t *at) {
        size_t end;

        while (*at < n && s[*at] == ' ')
                ++*at;
        for (end = *at; end < n && s[end] != ' ';)
                end++;
        return end - *at;
}

bool auth_has_mechanism(const char *list, const char *name, size_t n) {
        size_t n_list = strlen(list), n_word;

        for (size_t at = 0; (n_word = next_word(list, n_list, &at)) > 0; at += n_word)
                if (n_word == n && ascii_is_equal(list + at, name, n))
                        return true;
        return false;
}

static void add(char list[static AUTH_MECHANISMS_MAX + 1], const char *name, size_t n) {
        size_t n_list = strlen(list), n_blank = n_list > 0;

        if (n_list + n_blank + n > AUTH_MECHANISMS_MAX)
                return;
        memcpy(list + n_list, " ", n_blank);
        memcpy(list + n_list + n_blank, name, n);
        list[n_list + n_blank + n] = '\0';
}

void auth_add_mechanisms(char list[static AUTH_MECHANISMS_MAX + 1], const char *names, size_t n) {
        size_t n_word;

        for (size_t at = 0; (n_word = next_word(names, n, &at)) > 0; at += n_word)
                if (auth_is_mechanism(names + at, n_word) && !is_bound(names + at, n_word) &&
                    !auth_has_mechanism(list, names + at, n_word))
                        add(list, names + at, n_word);
}
