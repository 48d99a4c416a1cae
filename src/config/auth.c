/* SPDX-License-Identifier: MIT */
/* config/auth.c - the option auth. */
#include "config/auth.h"

#include <string.h>

#include "base/array.h"
#include "config/strategies.h"
#include "io/endpoint.h"

static const char *const modes[] = {
        [AUTH_NO] = "no", [AUTH_ANY] = "any", [AUTH_UPSTREAM] = "upstream"
};

static bool parse_mode(const struct option *o, const char *value, void *field) {
        (void) o;
        for (unsigned i = 0; i < ELEMENTS(modes); i++)
                if (strcmp(modes[i], value) == 0) {
                        *(enum auth_mode *) field = (enum auth_mode) i;
                        return true;
                }
        return false;
}

static void print_mode(const void *field, FILE *out) {
        fputs(modes[*(const enum auth_mode *) field], out);
}

const struct kind value_auth = { parse_mode, print_mode, .expected = "no, any or upstream" };

/* Whether what is said to it can be heard by nobody else. */
static bool is_private(const struct config *c, const char *upstream) {
        return endpoint_is_here(upstream) || c->upstream_tls > UPSTREAM_TLS_OPPORTUNISTIC;
}

static void check_upstreams(struct reading *r, struct place place) {
        const struct config *c = r->config;

        if (c->upstream.n == 0)
                read_complain(r, place, "auth=upstream needs upstream=HOST[:PORT]");
        if (c->is_upstream_lmtp)
                read_complain(r, place,
                              "auth=upstream makes no sense with upstream-protocol=lmtp: "
                              "name an upstream that speaks SMTP");
        if (c->xclient)
                read_complain(r, place,
                              "auth=upstream makes no sense with xclient=yes: both tell the "
                              "upstream who the client is; remove one of the two");
        if (c->upstream_user)
                read_complain(r, place,
                              "auth=upstream makes no sense with upstream-user: either we log in "
                              "to the upstream, or our clients do; remove one of the two");
        for (size_t i = 0; i < c->upstream.n; i++)
                if (!is_private(c, c->upstream.items[i]))
                        read_complain(
                                r, place,
                                "auth=upstream: passwords would be sent to %.200s in plain text: "
                                "choose upstream-tls=required or implicit, or an upstream on this "
                                "host (a loopback address, or a local socket)",
                                c->upstream.items[i]);
}

/* Whoever passes mail on for those who have authenticated must not believe everybody. */
void auth_check(struct reading *r) {
        const struct config *c = r->config;
        struct place place = read_place(r, "auth");
        bool has_judge = strategies_has_judge(c);

        if (c->auth == AUTH_ANY && has_judge)
                read_complain(r, place,
                              "auth=any makes no sense with strategy=%s: anyone could send mail "
                              "anywhere; use auth=upstream",
                              strategies_in_use(c));
        else if (c->auth == AUTH_UPSTREAM && !has_judge)
                read_complain(r, place,
                              "auth=upstream makes no sense with strategy=%s, which has no "
                              "upstream: use auth=any",
                              strategies_in_use(c));
        else if (c->auth == AUTH_UPSTREAM)
                check_upstreams(r, place);
}
