/* SPDX-License-Identifier: MIT */
/* deliver/prologue.c - prepares a connection to an upstream before a session gets it. */
#include "deliver/prologue.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "deliver/client_internal.h"
#include "io/fd.h"
#include "io/secret.h"

static struct {
        int error; /* negative errno: why there is none */
        char text[SECRET_MAX + 1];
} password;

bool prologue_is_needed(const struct config *c) {
        return c->upstream.n > 0 && (c->upstream_tls != UPSTREAM_TLS_NO || c->upstream_user);
}

/* The file has the newest one; if this user may not read it, whoever started us has read it. */
void prologue_read_password(const struct prologue_plan *plan) {
        int fd;

        if (!plan->config->upstream_user)
                return;
        fd = secret_open(plan->config->upstream_password);
        password.error = fd < 0 ? fd : secret_read(fd, password.text);
        fd_close(&fd);
        if (password.error < 0 && plan->password >= 0)
                password.error = secret_read(plan->password, password.text);
}

/* --- the dialogue ----------------------------------------------------------------------------- */

static enum client_result log_in(struct client *c, const struct config *config) {
        const struct client_login login = { config->upstream_auth, config->upstream_user,
                                            password.text };
        char why[sizeof(c->why)];
        enum client_result r;

        if (password.error < 0) {
                text_format(why, sizeof(why), "cannot read upstream-password=%s: %s",
                            config->upstream_password, secret_reason(password.error));
                return client_fail(c, CLIENT_LOCKED_OUT, "AUTH", why);
        }
        r = client_login(c, &login);
        explicit_bzero(password.text, sizeof(password.text));
        return r;
}

static enum client_result greet(struct client *c, struct prologue_result *ret) {
        enum client_result r = client_greet(c);

        ret->is_greeted = true;
        return r == CLIENT_OK ? client_introduce(c, c->rules->hostname) : r;
}

/* Who would like TLS goes on without, as long as the server is still there. */
static enum client_result start_tls(struct client *c, const struct prologue *p,
                                    struct prologue_result *ret) {
        bool is_condition = p->plan->config->upstream_tls == UPSTREAM_TLS_REQUIRED;

        return is_condition || c->has_starttls ? client_start_tls(c, p, ret) : CLIENT_OK;
}

/* Who only looks tells nobody a password. */
static bool has_login(const struct prologue *p) {
        return p->plan->config->upstream_user && p->plan->trust == UPSTREAM_TO_TRUST;
}

static enum client_result speak(struct client *c, const struct prologue *p,
                                struct prologue_result *ret) {
        const struct config *config = p->plan->config;
        enum upstream_tls mode = config->upstream_tls;
        enum client_result r = CLIENT_OK;

        if (mode == UPSTREAM_TLS_IMPLICIT)
                r = client_secure(c, p, ret);
        if (r == CLIENT_OK && (mode != UPSTREAM_TLS_IMPLICIT || has_login(p)))
                r = greet(c, ret);
        if (r == CLIENT_OK && (mode == UPSTREAM_TLS_OPPORTUNISTIC || mode == UPSTREAM_TLS_REQUIRED))
                r = start_tls(c, p, ret);
        if (r != CLIENT_OK || !has_login(p))
                return r;
        if (ret->is_secured && mode != UPSTREAM_TLS_IMPLICIT)
                r = client_introduce(c, c->rules->hostname);
        return r == CLIENT_OK ? log_in(c, config) : r;
}

static void tell_failure(const struct client *c, enum client_result r,
                         struct prologue_result *ret) {
        ret->failure = r;
        text_format(ret->step, sizeof(ret->step), "%s", c->step);
        text_format(ret->why, sizeof(ret->why), "%s", c->why);
        ret->said = c->said;
}

/* The session is gone with its broker. */
void prologue_speak(const struct prologue *p, struct prologue_result *ret) {
        static struct channel nobody;
        static struct client client;
        const struct config *config = p->plan->config;
        struct patience patience;
        const struct client_rules rules = {
                .name = "upstream",
                .title = "the upstream server",
                .hostname = config->hostname,
                .by = REPLY_BY_UPSTREAM,
                .is_lmtp = config->is_upstream_lmtp,
                .timeout = config->upstream_timeout,
                .downstream = &nobody,
        };
        enum client_result r;

        patience_init(&patience, p->broker, -1);
        channel_init(&nobody, -1, -1, &patience);
        client_begin(&client, p->endpoint, &rules);
        client_take(&client, p->connection);
        r = speak(&client, p, ret);
        if (r != CLIENT_OK)
                tell_failure(&client, r, ret);
}
