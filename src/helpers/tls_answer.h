/* SPDX-License-Identifier: MIT */
/* helpers/tls_answer.h - what an engine tells on the control socket: "NAME=value" with a NUL each,
 * and one more NUL at the end if there is TLS from now on.
 *
 * Pure. What the peer has chosen becomes printable ASCII, and is cut if it is too long.
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

/* A variable, but for NULL. */
void tls_answer_add(struct tls_answer *a, const char *name, const char *value);

/* The last NUL. */
void tls_answer_end(struct tls_answer *a);
