/* deliver/mailman2.h - GNU Mailman 2.1: which addresses are a list's, and its wrapper program.
 *
 * A list exists if its directory in `mailman-lists` has a config.pck (or config.pck.last,
 * config.db, config.db.last). A message for it goes to `mailman-wrapper` COMMAND LIST. Described in
 * Mailman 2.1's README and its src/mail-wrapper.c.
 */
#pragma once

#include "deliver/delivery.h"

enum { MAILMAN2_NAME_MAX = 127 };

/* What an address of a list means. */
struct mailman2_target {
        char list[MAILMAN2_NAME_MAX + 1];
        const char *command; /* post, request, bounces, ... */
};

/* Whether the address is a list's: that of the list with the longest name, for a list may be called
 * "x-request". Returns 1 or 0, or a negative errno where that cannot be found out. */
int mailman2_find(const char *lists, const struct address *a, struct mailman2_target *ret);

/* Gives the message to the wrapper for each of the lists, and sets their verdicts. */
void mailman2_deliver(const struct config *c, const struct envelope *e,
                      struct addressee *const *lists, size_t n_lists, struct message *m);
