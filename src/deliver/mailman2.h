/* deliver/mailman2.h - GNU Mailman 2.1: which addresses are a list's, and its wrapper program.
 *
 * A list exists if its directory in `mailman-lists` has a config.pck (or config.pck.last,
 * config.db, config.db.last). A message for it goes to `mailman-wrapper` COMMAND LIST. Described in
 * Mailman 2.1's README and its src/mail-wrapper.c.
 */
#pragma once

#include "deliver/program.h"

enum { MAILMAN2_NAME_MAX = 127 };

/* What an address of a list means. */
struct mailman2_target {
        char list[MAILMAN2_NAME_MAX + 1];
        const char *command; /* post, request, bounces, ... */
};

/* Whether the address is a list's: that of the list with the longest name, for a list may be called
 * "x-request". Returns 1 or 0, or a negative errno where that cannot be found out. */
int mailman2_find(const char *lists, const struct address *a, struct mailman2_target *ret);

/* A list's copy: the wrapper, ready to run. */
struct mailman2_copy {
        struct mailman2_target target;
        struct envelope envelope; /* for this list alone */
        char *argv[4];
        struct program_job *job; /* NULL: it does not run */
};

/* Before the copies of a message: makes the text that they have in common, and looks at the
 * wrapper. mailman2_end() is next, after the copies. Returns false if there can be none; then `ret`
 * is the refusal. */
bool mailman2_begin(const struct config *c, const struct envelope *e, struct message *m,
                    struct reply *ret);
void mailman2_end(void);

/* All that can fail before the wrapper runs. If it does, the list's verdict says why, and it
 * returns false. */
bool mailman2_prepare(const struct config *c, const struct envelope *e, struct addressee *list,
                      struct mailman2_copy *ret);

/* Runs it: the list has its verdict. */
void mailman2_deliver(struct mailman2_copy *copy);

/* If it was not run it will not be. */
void mailman2_drop(struct mailman2_copy *copy);
