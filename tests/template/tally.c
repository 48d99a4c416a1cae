/* SPDX-License-Identifier: MIT */
/* tally.c - strategy tally: each message becomes a line in the file $TALLY_FILE, and is discarded.
 *
 * A template: copy it to write a strategy; "Adding a strategy" in CONTRIBUTING.md says how. The
 * tests build and run it. deliver/delivery.h is the contract of each function.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "deliver/delivery.h"
#include "io/deadline.h"
#include "io/fd.h"
#include "io/log.h"

/* What the strategy knows in a session. */
struct delivery {
        int fd;
        uint64_t timeout; /* seconds */
};

/* Open here whatever has a name: the session is confined after this, to what .needs says. */
static int tally_open(const struct delivery_context *x, struct delivery **ret) {
        static struct delivery only;             /* there is one session in a process */
        const char *path = getenv("TALLY_FILE"); /* in src/deliver it would be an option */

        only.timeout = x->config->timeout;
        only.fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
        if (only.fd < 0) {
                log_say(LOG_ERR, "cannot open $TALLY_FILE, %s: %s: set it to a file to append to",
                        path ? path : "not set", strerror(path ? errno : EINVAL));
                return -EINVAL; /* the log says why; the client hears 421 4.3.5 */
        }
        *ret = &only;
        return 0;
}

/* The message can be in memory or in a file: read it in pieces. Returns 0 or a negative errno. */
static int count_lines(struct spool *s, unsigned *ret) {
        uint64_t at = 0;
        const char *data;
        int64_t n;

        *ret = 0;
        while ((n = spool_next(s, &at, s->size, &data)) > 0)
                for (int64_t i = 0; i < n; i++)
                        *ret += data[i] == '\n';
        return (int) n;
}

/* The verdicts are preset to 451. Set 250 last, when the destination has the whole message. */
static void tally_process_message(struct delivery *d, struct envelope *e, struct message *m) {
        struct reply verdict;
        unsigned n_lines;
        char line[128];
        const char *data = line;
        size_t n;
        int r = count_lines(&m->spool, &n_lines);

        if (r < 0) {
                delivery_storage_verdict(r, &verdict);
                delivery_verdict(e, &verdict);
                return;
        }
        n = text_format(line, sizeof(line), "%s lines=%u recipients=%zu\n", e->id, n_lines,
                        e->n_addressees);
        e->patience->stage = PATIENCE_GIVEN; /* from here on the answer is worth waiting for */
        r = fd_write(d->fd, e->patience, &data, &n, deadline_after(d->timeout));
        if (r == 0)
                reply_set(&verdict, 250, "2.0.0", "counted");
        else
                reply_set(&verdict, 451, "4.3.0", "cannot write the tally: %s", strerror(-r));
        delivery_verdict(e, &verdict);
}

/* Without .sender and .recipient everybody is welcome; without .close there is nothing to free. */
const struct delivery_ops tally_ops = {
        .name = "tally",
        .summary = "writes a line to the file $TALLY_FILE for each message",
        .open = tally_open,
        .process_message = tally_process_message,
};
