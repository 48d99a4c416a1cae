/* deliver/print.c - strategy print: the whole message to the output, in the format of the ancestor's
 * DebuggingServer. Byte for byte, with LF line ends. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "deliver/delivery.h"
#include "io/deadline.h"
#include "io/fd.h"
#include "io/log.h"
#include "io/output.h"

static const char begin[] = "---------- MESSAGE FOLLOWS ----------\n";
static const char end[] = "------------ END MESSAGE ------------\n";

struct delivery {
        bool x_peer;
        struct patience *patience;
        uint64_t timeout; /* seconds that the reader of the output may take */
        int64_t deadline;
        int error;        /* negative errno of the first write that failed */
        size_t n;         /* octets gathered in the buffer */
};

/* A short message goes out in one piece, so that sessions do not mix. */
static char buffer[16 * 1024];

static int print_open(const struct delivery_context *x, struct delivery **ret) {
        static struct delivery only = { .x_peer = true }; /* there is one session in a process */

        if (output_fd() < 0) {
                log_say(LOG_ERR,
                        "strategy=print has nowhere to print: %s is closed, or is the client's "
                        "connection (as under inetd); redirect it, or choose another strategy",
                        output_name());
                return -EINVAL;
        }
        if (!x->config->is_strategy_given && fd_is_null(output_fd())) {
                log_say(LOG_ERR,
                        "cannot print: %s is /dev/null, where messages would be lost: redirect it, or "
                        "choose a strategy (strategy=print throws them away there)",
                        output_name());
                return -EINVAL;
        }
        only.x_peer = x->config->x_peer;
        only.timeout = x->config->timeout;
        *ret = &only;
        return 0;
}

static void write_out(struct delivery *d, const char *data, size_t n) {
        if (d->error == 0)
                d->error = fd_write(output_fd(), d->patience, &data, &n, d->deadline);
}

static void flush(struct delivery *d) {
        write_out(d, buffer, d->n);
        d->n = 0;
}

static void put(struct delivery *d, const char *data, size_t n) {
        if (n > sizeof(buffer) - d->n)
                flush(d);
        if (n > sizeof(buffer)) {
                write_out(d, data, n);
                return;
        }
        memcpy(buffer + d->n, data, n);
        d->n += n;
}

static void put_part(struct delivery *d, struct spool *s, uint64_t from, uint64_t to) {
        const char *data;
        int64_t n;

        while (d->error == 0 && (n = spool_next(s, &from, to, &data)) != 0)
                if (n > 0)
                        put(d, data, (size_t) n);
                else
                        d->error = (int) n;
}

static void put_x_peer(struct delivery *d, const struct peer *p) {
        put(d, "X-Peer: ", 8);
        put(d, p->address, strlen(p->address));
        put(d, "\n", 1);
}

static void print_process_message(struct delivery *d, struct envelope *e, struct message *m) {
        static const struct fixed_reply printed = { 250, "2.0.0", "printed" };
        struct reply verdict;

        d->deadline = deadline_after(d->timeout);
        d->patience = e->patience;
        d->patience->stage = PATIENCE_GIVEN;
        d->error = 0;
        put(d, begin, sizeof(begin) - 1);
        put_part(d, &m->spool, 0, m->header.n_header);
        if (d->x_peer)
                put_x_peer(d, e->peer);
        put_part(d, &m->spool, m->header.n_header, m->spool.size);
        put(d, end, sizeof(end) - 1);
        flush(d);
        if (d->error == 0)
                reply_fix(&verdict, &printed);
        else
                reply_set(&verdict, 451, "4.3.0", "cannot print: %s: %s", output_name(),
                          strerror(-d->error));
        delivery_verdict(e, &verdict);
}

const struct delivery_ops print_ops = {
        .name = "print",
        .summary = "it is shown: with --listen on standard output, else on standard error",
        .needs = NEEDS_NOTHING,
        .needs_output = true,
        .open = print_open,
        .process_message = print_process_message,
};
