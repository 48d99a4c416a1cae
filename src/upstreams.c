/* SPDX-License-Identifier: MIT */
/* upstreams.c - what upstreams show of their TLS. */
#include "upstreams.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/text.h"
#include "confine.h"
#include "io/connect.h"
#include "io/deadline.h"

enum { CONNECT_SECONDS = 10, SECONDS = 30, TEXT_MAX = 1024 };

/* Whether it is one of the certificates in upstream-tls-verify. */
static bool is_pinned(const struct config *c, const char *digits) {
        for (size_t i = 0; i < c->upstream_tls_verify.n; i++) {
                const char *pin = strchrnul(c->upstream_tls_verify.items[i], ':'), *at = digits;

                for (; *pin && (*pin == ':' || ascii_lower(*pin) == *at); pin++)
                        at += *pin != ':';
                if (*pin == '\0' && *at == '\0' && at > digits)
                        return true;
        }
        return false;
}

/* Why it is not trusted as the configuration has it; NULL: it is. */
static const char *find_fault(const struct config *c, const struct security_server *s,
                              char room[static TEXT_MAX]) {
        bool is_verified = config_upstream_is_verified(c);

        if (!*s->verify) /* opportunistic, and in clear */
                return NULL;
        if (is_verified && strcmp(s->verify, "SUCCESS") != 0)
                text_format(room, TEXT_MAX, "its certificate cannot be verified (%s)",
                            strncmp(s->verify, "FAILED:", 7) == 0 ? s->verify + 7 : s->verify);
        else if (!is_verified && c->upstream_tls_verify.n > 0 &&
                 strcmp(c->upstream_tls_verify.items[0], "no") != 0 &&
                 !is_pinned(c, s->fingerprint))
                text_format(room, TEXT_MAX,
                            "its certificate is not the one in upstream-tls-verify");
        else
                return NULL;
        return room;
}

static void print_seen(const char *upstream, const struct prologue_result *r) {
        const struct security_server *s = &r->server;

        if (!r->is_secured) {
                printf("# upstream %s: no TLS, plain text\n", upstream);
                return;
        }
        printf("# upstream %s: %s %s\n", upstream, r->security.protocol, r->security.cipher);
        printf("#   certificate for %s (%s)\n", *s->names ? s->names : "nobody", s->subject);
        printf("#   sha256:%s\n", s->fingerprint);
        printf("#   by authorities and name: %s\n", s->verify);
}

static void look(const struct config *c, const struct prologue_plan *plan, const char *upstream,
                 config_complaint *warn) {
        const char *port = c->upstream_tls == UPSTREAM_TLS_IMPLICIT ? "465" : "25", *why = NULL;
        char text[2 * TEXT_MAX], room[TEXT_MAX];
        struct prologue_result r = { 0 };
        struct patience patience;
        int fd;

        patience_init(&patience, -1, -1);
        fd = connect_to(upstream, port, CONNECT_SECONDS, &patience, &why);
        if (fd >= 0) {
                fd = prologue_run(plan, upstream, fd, -1, deadline_after(SECONDS), &r);
                why = fd >= 0           ? find_fault(c, &r.server, room)
                      : r.said.code > 0 ? r.said.text
                                        : r.why;
        }
        if (fd >= 0) {
                close(fd);
                print_seen(upstream, &r);
        }
        if (!why)
                return;
        text_format(text, sizeof(text), "%.300s: %s; until that changes, mail for it %s", upstream,
                    why,
                    c->upstream_tls == UPSTREAM_TLS_OPPORTUNISTIC ? "is sent in plain text"
                                                                  : "gets 451");
        warn("upstream-tls", text);
}

void upstreams_look(const struct config *c, config_complaint *warn) {
        static struct prologue_plan plan;

        if (c->upstream_tls == UPSTREAM_TLS_NO)
                return;
        confine_plan_prologue(c, UPSTREAM_TO_LOOK, &plan);
        for (size_t i = 0; i < c->upstream.n; i++)
                look(c, &plan, c->upstream.items[i], warn);
}
