/* SPDX-License-Identifier: MIT */
/* stand.c - a broker alone, for a client that is made by hand.
 *
 *   stand SOCKET PROGRAM WRAPPER LISTS MAILMAN ENGINE [UPSTREAM...]
 *
 * It serves at the descriptor SOCKET; "-" is what it does not have. With $BALANCER the peer is to
 * be named. Printed first are the sizes of a request and an answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/serve.h"
#include "io/log.h"

static const char *value(const char *s) {
        return strcmp(s, "-") == 0 ? NULL : s;
}

int main(int argc, char **argv) {
        static const struct peer known = { .address = "192.0.2.1", .port = "1024" };
        static const struct peer unknown = { .address = "unknown", .via = "192.0.2.9" };
        static char *program[2];
        static char *engine[] = { (char *) "smtpd-tls", (char *) "--minimum=1.3", NULL };
        struct list upstream = { argv + 7, (size_t) argc - 7 };
        struct services s = {
                .peer = getenv("BALANCER") ? &unknown : &known,
                .has_balancer = getenv("BALANCER") != NULL,
                .hostname = "mx.example.com",
                .program = value(argv[2]) ? program : NULL,
                .wrapper = value(argv[3]),
                .lists = value(argv[4]),
                .mailman = value(argv[5]),
                .engine = value(argv[6]),
                .engine_argv = engine,
                .upstream = &upstream,
        };

        program[0] = argv[2];
        printf("%zu %zu\n", sizeof(struct request), sizeof(struct answer));
        fflush(stdout);
        log_open(LOG_TO_STDERR);
        serve(&s, atoi(argv[1]));
}
