/* deliver/environment.h - the environment of a program: the variables that smtpd-exec(7) promises. */
#pragma once

#include "deliver/delivery.h"

/* Recipients that fit into it. Starts zeroed with each transaction. */
struct environment_room {
        size_t n_addresses, n_options; /* octets of SMTPD_RCPT_TO and SMTPD_RCPT_OPTIONS so far */
};

/* Takes room for one more. Returns false if there is none: the verdict is 452 4.5.3. */
bool environment_reserve(struct environment_room *room, const struct recipient *r,
                         struct reply *ret_verdict);

struct environment {
        char *text;    /* "NAME=value" strings, each with its NUL; NULL while it is only measured */
        size_t n;
        char **vector; /* those and the inherited ones, as execve(2) wants them */
};

/* false if memory is out. To be freed in any case. */
bool environment_make(struct environment *v, const char *hostname, const struct envelope *e, const struct message *m);
void environment_free(struct environment *v);
