/* SPDX-License-Identifier: MIT */
/* accept/password.c - the password for upstreams, read before we switch the user. */
#include "accept/password.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "io/fd.h"
#include "io/log.h"
#include "io/secret.h"

void password_init(struct password *ret) {
        *ret = (struct password) { .fd = -1 };
}

static void forget(struct password *p) {
        fd_close(&p->fd);
        free(p->path);
        p->path = NULL;
}

/* Returns 0 or a negative errno, and then nothing has changed. */
static int read_file(struct password *p, const char *path) {
        struct password other = { .path = strdup(path) };
        int r = secret_seal(path);

        other.fd = r;
        if (r < 0 || !other.path) {
                forget(&other);
                return r < 0 ? r : -ENOMEM;
        }
        forget(p);
        *p = other;
        return 0;
}

int password_read(struct password *p, const struct config *c) {
        int r = c->upstream_password ? read_file(p, c->upstream_password) : 0;

        if (r < 0)
                log_say(LOG_ERR, "cannot read upstream-password=%s: %s", c->upstream_password,
                        secret_reason(r));
        return r < 0 ? EX_CONFIG : 0;
}

bool password_read_again(struct password *p, const struct config *c) {
        bool is_same =
                p->path && c->upstream_password && strcmp(p->path, c->upstream_password) == 0;
        int r;

        if (!c->upstream_password) {
                forget(p);
                return true;
        }
        r = read_file(p, c->upstream_password);
        if (r == 0)
                return true;
        log_say(is_same ? LOG_WARNING : LOG_ERR, "cannot read upstream-password=%s: %s%s",
                c->upstream_password, secret_reason(r),
                is_same ? "; the old one is still used: restart " PROGRAM " after a change" : "");
        return is_same;
}
