/* SPDX-License-Identifier: MIT */
/* authentication.c - who answers a client's AUTH. */
#include "authentication.h"

/* What others could listen to is said inside TLS, but to somebody who takes every secret. */
enum server_auth authentication_rule(const struct config *c, const struct peer *p) {
        if (c->auth == AUTH_NO)
                return SERVER_NO_AUTH;
        return c->auth == AUTH_ANY || peer_is_here(p) ? SERVER_AUTH_ALLOWED : SERVER_AUTH_NEEDS_TLS;
}

const char *authentication_mechanisms(const struct config *c, const struct mail *m) {
        return c->auth == AUTH_ANY        ? LOGIN_MECHANISMS
               : c->auth == AUTH_UPSTREAM ? m->strategy->mechanisms(m->delivery)
                                          : "";
}

void authentication_step(struct authentication *a, const struct session_log *log,
                         const struct mail *m, struct server *s, const struct event *line) {
        struct reply verdict;

        if (log->config->auth == AUTH_ANY)
                login_step(&a->login, line->data, line->n, &a->challenge, &verdict);
        else
                m->strategy->authenticate(m->delivery, line->data, line->n, &a->challenge,
                                          &verdict);
        server_answer(s, &verdict);
        if (s->reply.code != 334)
                session_log_auth(log, a->login.name, &s->reply);
}

int authentication_challenge(const struct authentication *a, struct channel *client) {
        channel_write(client, "334 ", 4);
        channel_write(client, a->challenge.text, a->challenge.n);
        return channel_write(client, "\r\n", 2);
}
