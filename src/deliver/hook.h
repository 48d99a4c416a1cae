/* SPDX-License-Identifier: MIT */
/* deliver/hook.h - shared by the strategies that run a program for each message: exec runs the
 * user's, the others one of our helpers, under the same contract (smtpd-exec(7)). A helper may link
 * libraries, which the process that reads the network must not.
 */
#pragma once

#include <limits.h>

#include "deliver/delivery.h"
#include "deliver/environment.h"

/* The state of such a strategy. */
struct delivery {
        const struct config *config;
        struct environment_room room;
        uint64_t timeout; /* seconds that the program has */
        char **argv;
        char program[PATH_MAX]; /* argv[0], unless that is as configured */
};

/* A program of ours. */
struct hook_helper {
        const char *name;
        const char *strategy; /* that runs it */
        const char *remedy;   /* what to do if it is not there */
};

/* A state whose argv has room for n words and NULL. Returns 0 or a negative errno. */
int hook_new(const struct config *c, size_t n, struct delivery **ret);

/* Checks that the helper is installed. Returns 0, or -EINVAL after logging what to do. */
int hook_require(const struct hook_helper *h);

/* A state whose argv is the helper and these words, up to NULL. They stay in use. Returns 0,
 * -EINVAL if the helper is not installed, or another negative errno. */
int hook_open(const struct config *c, const struct hook_helper *h, const char *const *words,
              struct delivery **ret);

/* For the rows. */
void hook_needs(const struct delivery *d, struct services *ret);
void hook_recipient(struct delivery *d, struct addressee *a, struct reply *ret_verdict);
void hook_process_message(struct delivery *d, struct envelope *e, struct message *m);
void hook_reset(struct delivery *d);
void hook_close(struct delivery *d);
