/* SPDX-License-Identifier: MIT */
/* broker/lists.h - the lists of GNU Mailman 2.1, as its directory has them.
 *
 * A list exists if its directory in `mailman-lists` has a config.pck (or config.pck.last,
 * config.db, config.db.last). A message for it goes to `mailman-wrapper` COMMAND LIST. Described in
 * Mailman 2.1's README and its src/mail-wrapper.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LISTS_NAME_MAX = 127, LISTS_COMMANDS = 10 };

/* The commands of the wrapper. */
extern const char *const lists_commands[LISTS_COMMANDS];

/* Whether these octets can be a list's name: lower case, and nothing that leads elsewhere. */
bool lists_is_name(const char *name, size_t n);

/* Whether the list exists: 1 or 0, or a negative errno if that cannot be found out. */
int lists_has(const char *lists, const char *name);

/* Whether this local part is a list's: of the one with the longest name, for a list may be called
 * "x-request". Returns as lists_has() does; then the list, and which command is meant. */
int lists_find(const char *lists, const char *local, size_t n,
               char ret_list[static LISTS_NAME_MAX + 1], uint32_t *ret_command);
