/* SPDX-License-Identifier: MIT */
/* confine.c - what a session does before the first octet of a stranger. */
#include "confine.h"

#include <string.h>

#include "broker/broker.h"
#include "deliver/prologue.h"
#include "io/fd.h"
#include "io/helper.h"
#include "io/inherited.h"
#include "io/log.h"
#include "sandbox.h"
#include "tls.h"

enum { PROLOGUE_DESCRIPTORS = 32 };

/* --- what is said to upstreams by a process of the broker's ----------------------------------- */

static void speak_confined(const struct prologue *p, struct prologue_result *ret) {
        const struct sandbox_sockets sockets = { .broker = p->broker,
                                                 .engine = -1,
                                                 .farewell = -1 };

        prologue_read_password(p->plan);
        if (p->plan->config->sandbox)
                sandbox_enter(&sockets, PROLOGUE_DESCRIPTORS);
        prologue_speak(p, ret);
}

void confine_plan_prologue(const struct config *c, enum upstream_trust trust,
                           struct prologue_plan *ret) {
        ret->config = c;
        ret->trust = trust;
        ret->requests = fd_passed(INHERITED_UPSTREAM_TLS);
        ret->password = fd_passed(INHERITED_PASSWORD);
        ret->speak = speak_confined;
        helper_find("smtpd-tls", ret->engine);
}

/* --- the broker ------------------------------------------------------------------------------- */

int confine_start_broker(const struct mail *m, const struct config *c, const struct peer *p,
                         const struct channel *client) {
        static struct prologue_plan plan = { .requests = -1, .password = -1 };
        struct services services = {
                .client = client->out,
                .peer = p,
                .has_balancer = *p->via != '\0',
                .hostname = c->hostname,
                .port = c->upstream_tls == UPSTREAM_TLS_IMPLICIT ? "465" : NULL,
        };
        int r;

        if (broker_socket() >= 0 || !(m->strategy->needs || tls_needs_broker()))
                return 0;
        if (m->strategy->needs)
                m->strategy->needs(m->delivery, &services);
        if (services.upstream && prologue_is_needed(c)) {
                confine_plan_prologue(c, UPSTREAM_TO_TRUST, &plan);
                services.prologue = &plan;
        }
        tls_need(&services);
        r = broker_start(&services);
        if (r < 0)
                log_say(LOG_ERR, "cannot start the broker: %s", strerror(-r));
        fd_close(&plan.requests);
        fd_close(&plan.password);
        return r;
}

/* Few. A list of Mailman 3 has a connection of its own. */
static size_t descriptors_of(const struct config *c) {
        return 64 + (broker_socket() >= 0 ? (size_t) c->max_recipients : 0);
}

/* What stands ready in a transcript is our user's own, and is read as it is: a filter would be
 * a tenth of such a session's time. One that has to wait for its client is no different from a
 * stranger's. */
enum confinement confine(const struct config *c, const struct channel *client, bool is_transcript) {
        const struct sandbox_sockets sockets = { broker_socket(), tls_request_socket(),
                                                 tls_farewell_socket() };

        if (is_transcript && (!c->sandbox || channel_has_input(client)))
                return CONFINEMENT_NONE;
        if (!c->sandbox)
                return NOT_CONFINED;
        return sandbox_enter(&sockets, descriptors_of(c)) ? CONFINED : NOT_CONFINED;
}
