/* SPDX-License-Identifier: MIT */
/* helpers/tls_answer.c - what an engine tells on the control socket. */
#include "helpers/tls_answer.h"

#include <string.h>

void tls_answer_add(struct tls_answer *a, const char *name, const char *value) {
        size_t n_name = strlen(name), n = value ? strnlen(value, TLS_VALUE_MAX) : 0;
        char *at = a->text + a->n;

        if (!value || a->n + n_name + 1 + n + 1 > sizeof(a->text) - 1) /* the last NUL */
                return;
        at = mempcpy(mempcpy(at, name, n_name), "=", 1);
        for (size_t i = 0; i < n; i++)
                at[i] = value[i] >= ' ' && value[i] <= '~' ? value[i] : '?';
        at[n] = '\0';
        a->n += n_name + 1 + n + 1;
}

void tls_answer_end(struct tls_answer *a) {
        a->text[a->n++] = '\0';
}
