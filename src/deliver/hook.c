/* SPDX-License-Identifier: MIT */
/* deliver/hook.c - shared by the strategies that run a program for each message. */
#include "deliver/hook.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "deliver/program.h"
#include "io/helper.h"
#include "io/log.h"

int hook_new(const struct config *c, size_t n, struct delivery **ret) {
        struct delivery *d = calloc(1, sizeof(*d));
        char **argv = calloc(n + 1, sizeof(*argv));

        if (!d || !argv) {
                free(d);
                free(argv);
                return -ENOMEM;
        }
        environment_measure();
        d->config = c;
        d->timeout = c->timeout;
        d->argv = argv;
        *ret = d;
        return 0;
}

void hook_close(struct delivery *d) {
        free(d->argv);
        free(d);
}

/* --- a program of ours ------------------------------------------------------------------------ */

static int find_helper(const struct hook_helper *h, char ret[static PATH_MAX]) {
        if (helper_find(h->name, ret))
                return 0;
        log_say(LOG_ERR,
                "strategy=%s: %s is not installed (cannot run %s): %s, or choose another strategy",
                h->strategy, h->name, ret, h->remedy);
        return -EINVAL;
}

int hook_require(const struct hook_helper *h) {
        char path[PATH_MAX];

        return find_helper(h, path);
}

int hook_open(const struct config *c, const struct hook_helper *h, const char *const *words,
              struct delivery **ret) {
        struct delivery *d;
        size_t n = 0;
        int r;

        while (words[n])
                n++;
        if ((r = hook_new(c, n + 1, &d)) < 0)
                return r;
        if ((r = find_helper(h, d->program)) < 0) {
                hook_close(d);
                return r;
        }
        d->argv[0] = d->program;
        memcpy(d->argv + 1, words, n * sizeof(*words));
        *ret = d;
        return 0;
}

/* --- for the rows ----------------------------------------------------------------------------- */

void hook_needs(const struct delivery *d, struct services *ret) {
        ret->program = d->argv;
}

void hook_recipient(struct delivery *d, struct addressee *a, struct reply *ret_verdict) {
        if (environment_reserve(&d->room, &a->recipient, ret_verdict))
                reply_fix(ret_verdict, &delivery_recipient_ok);
}

void hook_process_message(struct delivery *d, struct envelope *e, struct message *m) {
        const struct program program = { .name = d->argv[0],
                                         .request.index = REQUEST_PROGRAM,
                                         .timeout = d->timeout,
                                         .by = REPLY_BY_PROGRAM };

        program_run(&program, e, m);
}

void hook_reset(struct delivery *d) {
        d->room = (struct environment_room) { 0 };
}
