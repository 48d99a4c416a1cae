/* SPDX-License-Identifier: MIT */
/* helpers/tls_children.c - a server's processes, one for each connection, and who asked for it.
 *
 * A session asks once, and a proxy again when it has lost its upstream: it needs one connection at
 * a time, and the one before it may still say farewell. One that was taken over gets no more than
 * that, so that others have TLS.
 */
#include "helpers/tls_children.h"

#include <stddef.h>

enum {
        CHILDREN_MAX = 2000,
        PER_ASKER = 2,
};

static struct {
        struct {
                pid_t pid;
                uint64_t asker;
        } all[CHILDREN_MAX];
        size_t n;
} children;

const char *tls_children_refusal(uint64_t asker) {
        unsigned n = 0;

        if (children.n == CHILDREN_MAX)
                return "too many connections";
        if (asker == TLS_ASKER_UNKNOWN)
                return NULL;
        for (size_t i = 0; i < children.n; i++)
                n += children.all[i].asker == asker;
        return n < PER_ASKER ? NULL : "the requester already has two connections";
}

void tls_children_add(pid_t child, uint64_t asker) {
        children.all[children.n].pid = child;
        children.all[children.n++].asker = asker;
}

void tls_children_remove(pid_t child) {
        for (size_t i = 0; i < children.n; i++)
                if (children.all[i].pid == child) {
                        children.all[i] = children.all[--children.n];
                        return;
                }
}

bool tls_children_are_there(void) {
        return children.n > 0;
}

void tls_children_forget(void) {
        children.n = 0;
}
