/* SPDX-License-Identifier: MIT */
/* deliver/print.c - strategy print: the whole message to the output, in the format of the
 * ancestor's DebuggingServer. Byte for byte, with LF line ends. */
#include <errno.h>
#include <string.h>

#include "deliver/delivery.h"
#include "io/deadline.h"
#include "io/output.h"

static const char begin[] = "---------- MESSAGE FOLLOWS ----------\n";
static const char end[] = "------------ END MESSAGE ------------\n";

struct delivery {
        bool x_peer;
        uint64_t timeout; /* seconds that the reader of the output may take */
};

static int print_open(const struct delivery_context *x, struct delivery **ret) {
        static struct delivery only = { .x_peer = true }; /* there is one session in a process */

        if (delivery_check_output(x->config) < 0)
                return -EINVAL;
        only.x_peer = x->config->x_peer;
        only.timeout = x->config->timeout;
        *ret = &only;
        return 0;
}

/* 0 or a negative errno. */
static int show_part(struct spool *s, uint64_t from, uint64_t to) {
        const char *data;
        int64_t n;

        while ((n = spool_next(s, &from, to, &data)) > 0)
                output_show(data, (size_t) n);
        return (int) n;
}

static void show_x_peer(const struct peer *p) {
        output_show("X-Peer: ", 8);
        output_show(p->address, strlen(p->address));
        output_show("\n", 1);
}

/* 0 or a negative errno. */
static int show(struct delivery *d, const struct envelope *e, struct message *m) {
        int r;

        output_begin(e->patience, deadline_after(d->timeout));
        e->patience->stage = PATIENCE_GIVEN;
        output_show(begin, sizeof(begin) - 1);
        r = show_part(&m->spool, 0, m->header.n_header);
        if (d->x_peer)
                show_x_peer(e->peer);
        if (r == 0)
                r = show_part(&m->spool, m->header.n_header, m->spool.size);
        output_show(end, sizeof(end) - 1);
        return output_end(r);
}

static void print_process_message(struct delivery *d, struct envelope *e, struct message *m) {
        static const struct fixed_reply printed = { 250, "2.0.0", "printed" };
        struct reply verdict;
        int r = show(d, e, m);

        if (r == 0)
                reply_fix(&verdict, &printed);
        else
                reply_set(&verdict, 451, "4.3.0", "cannot print: %s: %s", output_name(),
                          strerror(-r));
        delivery_verdict(e, &verdict);
}

const struct delivery_ops print_ops = {
        .name = "print",
        .summary = "prints it: on standard output with --listen, else on standard error",
        .options = "bare-lf-from",
        .needs_output = true,
        .open = print_open,
        .process_message = print_process_message,
};
