/* confine.c - what a session does before the first octet of a stranger. */
#include "confine.h"

#include <string.h>

#include "broker/broker.h"
#include "io/log.h"
#include "sandbox.h"
#include "tls.h"

int confine_start_broker(const struct mail *m, const struct config *c, const struct peer *p,
                         const struct channel *client) {
        struct services services = {
                .client = client->out,
                .peer = p,
                .has_balancer = *p->via != '\0',
                .hostname = c->hostname,
        };
        int r;

        if (broker_socket() >= 0 || !(m->strategy->needs || tls_needs_broker()))
                return 0;
        if (m->strategy->needs)
                m->strategy->needs(m->delivery, &services);
        tls_need(&services);
        r = broker_start(&services);
        if (r < 0)
                log_say(LOG_ERR, "cannot start the broker: %s", strerror(-r));
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
        const struct sandbox_sockets sockets = {
                broker_socket(), tls_request_socket(), tls_farewell_socket()
        };

        if (!c->sandbox || (is_transcript && channel_has_input(client)))
                return CONFINEMENT_NONE;
        return sandbox_enter(&sockets, descriptors_of(c)) ? CONFINED : NOT_CONFINED;
}
