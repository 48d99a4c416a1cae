/* SPDX-License-Identifier: MIT */
/* accept/password.h - the password for upstreams, read before we switch the user. The sessions'
 * brokers get a copy if they cannot read the file themselves.
 */
#pragma once

#include <stdbool.h>

#include "config/config.h"

struct password {
        int fd;     /* the copy, which is sealed; -1: there is none */
        char *path; /* of the file that it is from */
};

/* Initialises it without a password. */
void password_init(struct password *ret);

/* Reads the configured file. Returns 0, or an exit status after logging why. */
int password_read(struct password *p, const struct config *c);

/* The same with another configuration. If the file cannot be read any more, the old copy stays in
 * use, which is logged. Returns false if there is no copy of this file. */
bool password_read_again(struct password *p, const struct config *c);
