/* SPDX-License-Identifier: MIT */
/* helpers/tls_answer.h - the engine's answer on the control socket: "NAME=value" strings, each
 * followed by a NUL, and one more NUL at the end if TLS is established.
 *
 * Pure. Values become printable ASCII, and are truncated if they are too long.
 */
#pragma once

#include <stddef.h>

enum {
        TLS_ANSWER_MAX = 4096,
        TLS_VALUE_MAX = 1024,
};

struct tls_answer {
        size_t n;
        char text[TLS_ANSWER_MAX];
};

/* Adds a variable, unless the value is NULL. */
void tls_answer_add(struct tls_answer *a, const char *name, const char *value);

/* Adds the last NUL. */
void tls_answer_end(struct tls_answer *a);
