/* SPDX-License-Identifier: MIT */
/* accept/password.h - the password for upstreams, which is read while we may: sessions are another
 * user. Their broker gets a copy of it, if it cannot read the file itself.
 */
#pragma once

#include <stdbool.h>

#include "config/config.h"

struct password {
        int fd;     /* the copy, which is sealed; -1: there is none */
        char *path; /* of the file that it is from */
};

/* Nothing is read yet. */
void password_init(struct password *ret);

/* Returns 0, or an exit status, having said why. */
int password_read(struct password *p, const struct config *c);

/* The same with another configuration. If the file cannot be read any more the copy stays, and that
 * is said. False: there is none of this file. */
bool password_read_again(struct password *p, const struct config *c);
