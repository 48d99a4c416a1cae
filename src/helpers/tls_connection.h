/* SPDX-License-Identifier: MIT */
/* helpers/tls_connection.h - one connection: the handshake, the answer, and then the relay. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "helpers/tls_request.h"
#include "helpers/tls_trust.h"
#include "io/peer.h"

struct tls_connection {
        int wire;         /* to the peer */
        int control;      /* to whoever asked: the answer */
        int clear;        /* to the same: what the peer says, and is to hear */
        unsigned timeout; /* seconds, for the handshake */
        struct peer peer; /* for the log */
        /* what we want of a server, as its client; NULL: we are the server */
        const struct tls_trust *server;
        uint64_t asker;              /* one number for all that somebody asks for */
        struct tls_trust asked;      /* what `server` is, if it came with a request, and */
        char words[TLS_REQUEST_MAX]; /* the request's */
        bool is_silent; /* no answer is wanted: whoever asked sees by `clear` what becomes of it */
};

/* Until it is over. Failures of the peer are logged at LOG_INFO. The descriptors stay open, but for
 * `control` if there is no TLS. */
void tls_connection_run(SSL_CTX *context, const struct tls_connection *c);

/* There will be no TLS: tells both sides. */
void tls_connection_refuse(const struct tls_connection *c, const char *reason);
