/* SPDX-License-Identifier: MIT */
/* deliver/client_tls.c - TLS toward a server: STARTTLS (RFC 3207), and the engine's word on it. */
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "broker/engine.h"
#include "deliver/client_internal.h"
#include "io/deadline.h"

enum { HANDSHAKE_SECONDS = 60 };

static enum client_result fail_tls(struct client *c, const char *step, const char *why) {
        return client_fail(c, CLIENT_INSECURE, step, why);
}

/* Octets behind the 220 were put there by somebody in between: in TLS they would count as the
 * server's. */
static enum client_result say_starttls(struct client *c, struct prologue_result *ret) {
        const char *step = "STARTTLS";
        struct reply reply;
        enum client_result r;

        if (!c->has_starttls)
                return fail_tls(c, step, "it does not offer STARTTLS");
        client_say(c, "STARTTLS");
        r = client_get(c, step, &reply);
        ret->is_for_clear = r == CLIENT_OK && reply.code != 220;
        if (ret->is_for_clear)
                return client_refuse(c, CLIENT_INSECURE, step, &reply);
        if (r == CLIENT_OK && !client_is_quiet(c))
                return fail_tls(c, step, "octets follow its 220");
        return r;
}

/* The engine has the connection from now on; we its plain side. */
static void take_plain_side(struct client *c, int plain) {
        close(c->channel.in);
        client_take(c, plain);
}

enum client_result client_secure(struct client *c, const struct prologue *p,
                                 struct prologue_result *ret) {
        int64_t deadline = deadline_after(client_seconds(c, HANDSHAKE_SECONDS));
        char answer[SECURITY_ANSWER_MAX] = "", reason[SECURITY_REASON_MAX];
        size_t n = 0;
        int r = prologue_ask_tls(p);

        if (r == 0)
                r = engine_read_answer(p->control, client_patience(c), deadline, answer, &n);
        security_read_server(&ret->server, answer, n);
        if (r == 0) {
                security_read(&ret->security, answer, n);
                ret->is_secured = true;
                take_plain_side(c, p->plain);
                return CLIENT_OK;
        }
        ret->is_for_clear = true;
        security_read_reason(answer, n, reason);
        return fail_tls(c, "TLS", *reason ? reason : engine_reason(r));
}

enum client_result client_start_tls(struct client *c, const struct prologue *p,
                                    struct prologue_result *ret) {
        enum client_result r = say_starttls(c, ret);

        return r == CLIENT_OK ? client_secure(c, p, ret) : r;
}
