/* deliver/exec.c - strategies exec and journal: a program decides what becomes of the message.
 *
 * With exec it is the user's. With journal it is our own helper, smtpd-journal, under the same contract: libsystemd is
 * linked there, and not into the process that reads the network.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "deliver/environment.h"
#include "deliver/program.h"
#include "io/helper.h"
#include "io/log.h"

#define HELPER "smtpd-journal"

struct delivery {
        const struct config *config;
        struct environment_room room;
        char **argv;
        char program[PATH_MAX]; /* argv[0], unless it is as configured */
};

/* With room for an argv of n words and NULL. */
static int new_delivery(const struct config *c, size_t n, struct delivery **ret) {
        struct delivery *d = calloc(1, sizeof(*d));
        char **argv = calloc(n + 1, sizeof(*argv));

        if (!d || !argv) {
                free(d);
                free(argv);
                return -ENOMEM;
        }
        environment_measure();
        d->config = c;
        d->argv = argv;
        *ret = d;
        return 0;
}

static void exec_close(struct delivery *d) {
        free(d->argv);
        free(d);
}

/* Links are left as they are: some programs go by the name they are called with. */
static bool make_absolute(const char *path, char ret[static PATH_MAX]) {
        size_t n;

        if (!getcwd(ret, PATH_MAX))
                return false;
        n = strlen(ret);
        return text_format(ret + n, PATH_MAX - n, "/%s", path) < PATH_MAX - n - 1;
}

/* The program runs in /, but its name is relative to where we are. */
static int exec_open(const struct delivery_context *x, struct delivery **ret) {
        const struct config *c = x->config;
        size_t n = 0;
        int r;

        while (c->command[n])
                n++;
        assert(n > 0);
        if ((r = new_delivery(c, n, ret)) < 0)
                return r;
        memcpy((*ret)->argv, c->command, n * sizeof(char *));
        if (strchr(c->command[0], '/') && *c->command[0] != '/' && make_absolute(c->command[0], (*ret)->program))
                (*ret)->argv[0] = (*ret)->program;
        return 0;
}

static int require_helper(char ret[static PATH_MAX]) {
        if (helper_find(HELPER, ret))
                return 0;
        log_say(LOG_ERR,
                "strategy=journal: smtpd-journal is not installed (cannot run %s): build smtpd "
                "with libsystemd-dev and pkg-config installed, or choose another strategy",
                ret);
        return -EINVAL;
}

static int journal_require(void) {
        char path[PATH_MAX];

        return require_helper(path);
}

static int journal_open(const struct delivery_context *x, struct delivery **ret) {
        static char x_peer[] = "--x-peer";
        struct delivery *d;
        int r = new_delivery(x->config, 2, &d);

        if (r < 0)
                return r;
        if ((r = require_helper(d->program)) < 0) {
                exec_close(d);
                return r;
        }
        d->argv[0] = d->program;
        d->argv[1] = x->config->x_peer ? x_peer : NULL;
        *ret = d;
        return 0;
}

static void exec_recipient(struct delivery *d, struct addressee *a, struct reply *ret_verdict) {
        if (environment_reserve(&d->room, &a->recipient, ret_verdict))
                reply_fix(ret_verdict, &delivery_recipient_ok);
}

static void exec_process_message(struct delivery *d, struct envelope *e, struct message *m) {
        const struct program program = { .name = d->argv[0],
                                         .request.index = REQUEST_PROGRAM,
                                         .timeout = d->config->timeout,
                                         .by = REPLY_BY_PROGRAM };

        program_run(&program, e, m);
}

static void exec_reset(struct delivery *d) {
        d->room = (struct environment_room) { 0 };
}

static void exec_needs(const struct delivery *d, struct services *ret) {
        ret->program = d->argv;
}

static const char *exec_check(const struct config *c) {
        return c->command ? NULL : "strategy=exec needs command=PROGRAM [ARG...]";
}

const struct delivery_ops exec_ops = {
        .name = "exec",
        .summary = "your program gets it, and decides: smtpd-exec(7)",
        .options = "command",
        .check = exec_check,
        .needs = exec_needs,
        .open = exec_open,
        .recipient = exec_recipient,
        .process_message = exec_process_message,
        .reset = exec_reset,
        .close = exec_close,
};

const struct delivery_ops journal_ops = {
        .name = "journal",
        .summary = "it becomes an entry in the systemd journal",
        .needs = exec_needs,
        .require = journal_require,
        .open = journal_open,
        .recipient = exec_recipient,
        .process_message = exec_process_message,
        .reset = exec_reset,
        .close = exec_close,
};
