/* SPDX-License-Identifier: MIT */
/* user.h - switches from root to an unprivileged user. */
#pragma once

#include <stdbool.h>

/* The user that root switches to if the configuration names none: "smtpd" if there is one, else
 * "nobody". */
const char *user_default(void);

/* Checks that the user that an option names exists; an empty name is none. Returns 0, or an exit
 * status, having said why. */
int user_check(const char *option, const char *name);

/* Whether a user has the privileges of root. */
bool user_is_root(const char *name);

/* Switches permanently to a user, given by name or number: its user and group IDs, no other groups,
 * no capabilities. A number without a user name has the group of the same number. Does nothing if
 * we are that user. Returns 0, -ENOENT if there is no such user, or another negative errno.
 */
int user_become(const char *name);

/* If we are root, switches to the configured user, or the default one for "". Returns 0, or an exit
 * status after logging why. */
int user_give_up_root(const char *name);

/* The same; other users than root give up all capabilities, for themselves and for programs that
 * they run. */
int user_give_up_privileges(const char *name);
