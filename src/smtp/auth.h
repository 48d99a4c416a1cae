/* SPDX-License-Identifier: MIT */
/* smtp/auth.h - AUTH (RFC 4954): the values that both ends of an exchange have. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
        AUTH_LINE_MAX = 12288,     /* octets of a line of an exchange, with its CRLF (section 4) */
        AUTH_MECHANISM_MAX = 20,   /* of a mechanism's name (RFC 4422 section 3.1) */
        AUTH_MECHANISMS_MAX = 255, /* of their list, with blanks between them */
};

/* What a 334 says, in room for the whole line. */
struct challenge {
        size_t n;
        char text[AUTH_LINE_MAX];
};

/* Whether they are whole base64 (RFC 4648 section 4), maybe of nothing. */
bool auth_is_base64(const char *s, size_t n);

/* Decodes that. Returns the octets written, at most n / 4 * 3. */
size_t auth_decode(const char *s, size_t n, char *out);

/* Whether that can be the name of a mechanism. */
bool auth_is_mechanism(const char *s, size_t n);

/* Adds to a list the mechanisms that a server's EHLO reply names after "AUTH", but for those that
 * cannot be spoken with it through somebody in between, and what the list has no room for. */
void auth_add_mechanisms(char list[static AUTH_MECHANISMS_MAX + 1], const char *names, size_t n);

/* Whether a list has it, in either letter case. */
bool auth_has_mechanism(const char *list, const char *name, size_t n);
