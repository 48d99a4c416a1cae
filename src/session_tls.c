/* SPDX-License-Identifier: MIT */
/* session_tls.c - a session and TLS: STARTTLS (RFC 3207), and TLS from the first octet
 * (RFC 8314).
 */
#include "session_internal.h"

#include <string.h>

#include "tls.h"

/* What comes before our 220 would be taken for something said inside TLS: whoever sits in between
 * may have put it there. `n` octets came already. */
static bool check_quiet(struct session *s, size_t n) {
        char *in;
        int64_t more;

        if (n == 0 && !channel_has_input(s->channel))
                return true;
        more = n > 0 ? (int64_t) n : channel_read(s->channel, &in);
        if (more > 0)
                s->end = END_INJECTED;
        else
                session_end_input(s, more);
        return false;
}

void session_start_tls(struct session *s, size_t n_after) {
        static const struct fixed_reply ready = { 220, "2.0.0", "ready to start TLS" };
        static const struct fixed_reply none = { 454, "4.7.0",
                                                 "TLS is not available, try again later" };
        struct reply verdict;

        if (!check_quiet(s, n_after))
                return;
        reply_fix(&verdict, tls_start(s->log.config, s->log.peer, s->channel) ? &ready : &none);
        server_answer(&s->server, &verdict);
}

void session_secure(struct session *s) {
        if (!session_flush(s))
                return;
        if (!tls_finish(s->channel, &s->security, s->log.why)) {
                s->end = END_NO_TLS;
                return;
        }
        s->mail.envelope.security = &s->security;
        server_secured(&s->server);
}

void session_begin_with_tls(struct session *s) {
        s->end = END_NO_TLS;
        strcpy(s->log.why, "there is no engine");
        if (!session_prepare(s))
                return;
        if (tls_start(s->log.config, s->log.peer, s->channel)) {
                s->end = GOES_ON;
                session_secure(s);
        }
}
