/* user.h - from root to a user without privileges, once what needs them is done. */
#pragma once

/* Becomes that user, for good: its user and group, no other groups, no capabilities. Returns 0, -ENOENT if there is none of
 * that name, or another negative errno. */
int user_become(const char *name);

/* Gives up all capabilities, for us and for programs that we run. Returns 0 or a negative errno. */
int user_drop_capabilities(void);
