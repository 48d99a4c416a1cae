/* SPDX-License-Identifier: MIT */
/* user.h - from root to a user without privileges, once what needs them is done. */
#pragma once

#include <stdbool.h>

/* The user that root becomes if the configuration names none: "smtpd" if there is one, else
 * "nobody". */
const char *user_default(void);

/* Whether there is the user that this option names, if it names one. Returns 0, or an exit status,
 * having said why. */
int user_check(const char *option, const char *name);

/* Whether that is root. */
bool user_is_root(const char *name);

/* Becomes that user (a name, or a number), for good: its user and group, no other groups, no
 * capabilities. A number that is nobody's name has the group of the same number. Does nothing if
 * that is who we are. Returns 0, -ENOENT if there is none of that name, or another negative errno.
 */
int user_become(const char *name);

/* Becomes the user that the configuration names (or "") if we are root. Returns 0, or an exit
 * status, having said why. */
int user_give_up_root(const char *name);

/* The same; and others than root give up all capabilities, for themselves and for programs that
 * they run. */
int user_give_up_privileges(const char *name);
