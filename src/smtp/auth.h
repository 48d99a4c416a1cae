/* SPDX-License-Identifier: MIT */
/* smtp/auth.h - AUTH (RFC 4954): values and checks that client and server share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
        AUTH_LINE_MAX = 12288,     /* octets of a line of an exchange, with its CRLF (section 4) */
        AUTH_MECHANISM_MAX = 20,   /* of a mechanism's name (RFC 4422 section 3.1) */
        AUTH_MECHANISMS_MAX = 255, /* of their list, with blanks between them */
};

/* The text of a 334 reply. */
struct challenge {
        size_t n;
        char text[AUTH_LINE_MAX];
};

/* Whether n octets are complete base64 (RFC 4648 section 4), possibly empty. */
bool auth_is_base64(const char *s, size_t n);

/* Decodes complete base64. Returns the number of octets written, at most n / 4 * 3. */
size_t auth_decode(const char *s, size_t n, char *out);

/* Whether n octets can be the name of a mechanism. */
bool auth_is_mechanism(const char *s, size_t n);

/* Adds to a list the mechanisms that a server's EHLO reply names after "AUTH", except those that do
 * not work through a proxy and those that do not fit. */
void auth_add_mechanisms(char list[static AUTH_MECHANISMS_MAX + 1], const char *names, size_t n);

/* Whether a list contains a mechanism, in any letter case. */
bool auth_has_mechanism(const char *list, const char *name, size_t n);
