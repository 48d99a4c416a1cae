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

/* Whose the address is, by its lists directory. The verdict is a yes, or a temporary failure if
 * that cannot be known. */
enum mailman_owner mailman2_find(const struct config *c, const struct envelope *e,
                                 const struct recipient *recipient, struct reply *ret_verdict);

/* Before the copies of a message: makes the text that they have in common. mailman2_end() is
 * next, after the copies. Returns false if there can be none; then `ret`
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
