/* SPDX-License-Identifier: MIT */
/* deliver/environment.c - the variables of smtpd-exec(7): the envelope, for a program. */
#include "deliver/environment.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/text.h"

enum { ENVIRONMENT_SLACK = 16 * 1024 };

/* What the kernel takes in the arguments and environment of a program together (execve(2)), less
 * what we need. */
static size_t room_in_all;

void environment_measure(void) {
        size_t used = ENVIRONMENT_SLACK, limit = (size_t) sysconf(_SC_ARG_MAX);

        for (char **p = environ; *p; p++)
                used += strlen(*p) + 1 + sizeof(*p);
        room_in_all = limit > used ? limit - used : 1;
}

bool environment_reserve(struct environment_room *room, const struct recipient *r,
                         struct reply *ret_verdict) {
        /* MAX_ARG_STRLEN is 32 pages, and the variable has a name */
        const size_t in_one = 31UL * 4096;
        size_t n_addresses = room->n_addresses + strlen(r->address.text) + 1;
        size_t n_options = room->n_options + strlen(r->options) + 1;

        if (n_addresses > in_one || n_options > in_one || n_addresses + n_options > room_in_all) {
                reply_set(ret_verdict, 452, "4.5.3",
                          "too many recipients: send the rest in another message");
                return false;
        }
        *room = (struct environment_room) { n_addresses, n_options };
        return true;
}

/* What does not fit is counted only. */
static void put(struct environment *v, const char *text, size_t n) {
        size_t room = v->n < sizeof(v->text) ? sizeof(v->text) - v->n : 0;

        memcpy(v->text + (room > 0 ? v->n : 0), text, n < room ? n : room);
        v->n += n;
}

static void put_list(struct environment *v, const struct envelope *e, bool is_options) {
        const char *between = "";

        for (size_t i = 0; i < e->n_addressees; i++) {
                const struct recipient *r = &e->addressees[i].recipient;
                const char *value = is_options ? r->options : r->address.text;

                if (e->addressees[i].is_held || e->addressees[i].same)
                        continue;
                put(v, between, strlen(between));
                put(v, value, strlen(value));
                between = "\n";
        }
        put(v, "", 1);
}

/* All that the contract promises, in the order of request_variables; those without a value are
 * there, and empty. */
bool environment_make(struct environment *v, const struct envelope *e, const struct message *m) {
        char size[32];
        const struct security *tls = e->security;
        const char *const values[] = { e->id,
                                       e->helo,
                                       e->protocol,
                                       e->sender.address.text,
                                       e->sender.options,
                                       size,
                                       tls->protocol,
                                       tls->cipher,
                                       tls->sni,
                                       tls->fingerprint,
                                       tls->verify,
                                       e->authenticated };

        text_format(size, sizeof(size), "%llu", (unsigned long long) m->size);
        v->n = 0;
        for (size_t i = 0; i < REQUEST_VARIABLES; i++) {
                put(v, request_variables[i], strlen(request_variables[i]));
                if (i < ELEMENTS(values))
                        put(v, values[i], strlen(values[i]) + 1);
                else
                        put_list(v, e, i > ELEMENTS(values));
        }
        return v->n <= sizeof(v->text);
}
