/* SPDX-License-Identifier: MIT */
/* balancer.c - who the client is, by the word of a balancer. */
#include "balancer.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "broker/broker.h"
#include "io/deadline.h"
#include "smtp/proxy_header.h"

enum { HEADER_SECONDS = 5 };

/* Takes what has come of the header. Nothing of it stays in the socket, which would be readable all
 * the time that we wait for the rest. Returns 0 when it is whole, -EAGAIN as long as it is not, or
 * the negative errno of channel_peek(); -ENODATA: the input has ended. */
static int take_some(struct channel *client, struct proxy_header *h, int64_t deadline) {
        char octets[PROXY_HEADER_MAX];
        int64_t n = channel_peek(client, octets, sizeof(octets), deadline);
        enum proxy_status status;
        size_t n_used;
        int r;

        if (n <= 0)
                return n == 0 ? -ENODATA : (int) n;
        status = proxy_header_take(h, octets, (size_t) n, &n_used);
        if (status == PROXY_BAD)
                return -EBADMSG;
        r = channel_take(client, n_used);
        return r < 0 ? r : status == PROXY_DONE ? 0 : -EAGAIN;
}

static const char *reason_of(int error) {
        return error == -EBADMSG     ? "the connection began with something else"
               : error == -ENODATA   ? "the header is incomplete"
               : error == -ETIMEDOUT ? "none came within five seconds"
                                     : patience_reason(error);
}

/* A balancer may try whether we are there without a word. */
static enum session_end end_for(int error, size_t n_heard, char why[static SECURITY_REASON_MAX]) {
        if (error == -ENODATA && n_heard == 0)
                return END_CLOSED;
        if (error == -ECONNRESET || error == -EPIPE)
                return END_LOST;
        text_format(why, SECURITY_REASON_MAX, "%s", reason_of(error));
        return END_NO_HEADER;
}

enum session_end balancer_hear(struct channel *client, struct peer *p, struct security *ret_tls,
                               char ret_why[static SECURITY_REASON_MAX]) {
        static struct proxy_header header;
        int64_t deadline = deadline_after(HEADER_SECONDS);
        int r;

        do
                r = take_some(client, &header, deadline);
        while (r == -EAGAIN);
        if (r == 0 && !peer_set_client(p, header.client))
                r = -EBADMSG;
        if (r < 0)
                return end_for(r, header.n, ret_why);
        broker_tell_peer(header.client);
        *ret_tls = header.tls;
        return GOES_ON;
}
