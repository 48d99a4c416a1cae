/* SPDX-License-Identifier: MIT */
/* deliver/mailman2.h - GNU Mailman 2.1: its wrapper program. Its lists are in broker/lists.h. */
#pragma once

#include "deliver/mailman3.h"
#include "deliver/program.h"

/* A list's copy: the wrapper, ready to run. */
struct mailman2_copy {
        bool is_ready;            /* all that can fail before has been done */
        struct envelope envelope; /* for this list alone */
        struct program wrapper;
};

/* Whether the options are those of one Mailman: as in delivery.h. */
const char *mailman2_check(const struct config *c, const char **ret_option);

/* Finds out to whom the address belongs, from the lists directory. The verdict is positive, or a
 * temporary failure if that is unknown. */
enum mailman_owner mailman2_find(const struct config *c, const struct envelope *e,
                                 const struct recipient *recipient, struct reply *ret_verdict);

/* Before the copies of a message: makes the text that they have in common. mailman2_end() is
 * next, after the copies. Returns false if there can be none; then `ret`
 * is the refusal. */
bool mailman2_begin(const struct config *c, const struct envelope *e, struct message *m,
                    struct reply *ret);
void mailman2_end(void);

/* Does everything that can fail before the wrapper runs. On failure it sets the list's verdict and
 * returns false. */
bool mailman2_prepare(const struct config *c, const struct envelope *e, struct addressee *list,
                      struct mailman2_copy *ret);

/* Runs the wrapper, and sets the list's verdict. */
void mailman2_deliver(struct mailman2_copy *copy);
