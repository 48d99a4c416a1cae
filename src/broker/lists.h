/* SPDX-License-Identifier: MIT */
/* broker/lists.h - looks up lists of GNU Mailman 2.1 in its directory.
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

/* Whether these octets can be a list's name: lower case, and nothing that could leave the
 * directory. */
bool lists_is_name(const char *name, size_t n);

/* Whether the list exists: 1 or 0, or a negative errno if that cannot be determined. */
int lists_has(const char *lists, const char *name);

/* Finds the list that this local part belongs to: the one with the longest name, because a list may
 * be called "x-request". Returns as lists_has() does, and sets the list and the command. */
int lists_find(const char *lists, const char *local, size_t n,
               char ret_list[static LISTS_NAME_MAX + 1], uint32_t *ret_command);
