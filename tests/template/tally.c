/* tally.c - strategy tally: for each message a line in the file $TALLY_FILE; the message is discarded.
 *
 * The template of a strategy, built and run by the tests. To make one of it, see "A new strategy" in
 * CONTRIBUTING.md. src/deliver/delivery.h is the contract of each function.
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

/* Open here what has a name: after this the session is confined, and .needs says to what. */
static int tally_open(const struct config *c, const struct peer *p, struct delivery **ret) {
        static struct delivery only; /* there is one session in a process */
        const char *path = getenv("TALLY_FILE"); /* a strategy that is installed has an option for this */

        (void) p;
        only.timeout = c->timeout;
        only.fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
        if (only.fd < 0) {
                log_say(LOG_ERR, "cannot open $TALLY_FILE (%s): %s: set it to a file that can be written",
                        path ? path : "not set", strerror(path ? errno : EINVAL));
                return -EINVAL; /* it is said above why, and the client hears 421 4.3.5 */
        }
        *ret = &only;
        return 0;
}

/* Reads the message a piece at a time: it can be in memory or in a file. Returns 0 or a negative errno. */
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

/* The verdicts are a 451 before this. Say 250 last, after the destination has the whole message. */
static void tally_process_message(struct delivery *d, struct envelope *e, struct message *m) {
        struct reply verdict;
        unsigned n_lines;
        char line[128];
        size_t n;
        int r = count_lines(&m->spool, &n_lines);

        if (r < 0) {
                delivery_storage_verdict(r, &verdict);
                delivery_verdict(e, &verdict);
                return;
        }
        n = text_format(line, sizeof(line), "%s lines=%u recipients=%zu\n", e->id, n_lines, e->n_addressees);
        r = fd_write_all(d->fd, line, n, deadline_after(d->timeout));
        if (r == 0)
                reply_set(&verdict, 250, "2.0.0", "counted");
        else
                reply_set(&verdict, 451, "4.3.0", "cannot write the tally: %s", strerror(-r));
        delivery_verdict(e, &verdict);
}

/* Its row. Without .sender and .recipient everybody is welcome; without .close open() leaves nothing to free. */
const struct delivery_ops tally_ops = {
        .name = "tally",
        .needs = NEEDS_NOTHING, /* no new connection, file or program once the session is confined */
        .open = tally_open,
        .process_message = tally_process_message,
};
