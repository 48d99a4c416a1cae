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
        int control;      /* to the requester: the answer */
        int clear;        /* to the requester: the plain text, in both directions */
        unsigned timeout; /* seconds, for the handshake */
        struct peer peer; /* for the log */
        /* how to verify the server, if we are the client; NULL: we are the server */
        const struct tls_trust *server;
        uint64_t asker;              /* identifies the requester */
        struct tls_trust asked;      /* what `server` is, if it came with a request, and */
        char words[TLS_REQUEST_MAX]; /* the request's */
        bool is_silent; /* no answer is wanted; the requester watches `clear` instead */
};

/* Serves the connection until it ends. Failures of the peer are logged with LOG_INFO. The
 * descriptors stay open, except for `control` if TLS fails. */
void tls_connection_run(SSL_CTX *context, const struct tls_connection *c);

/* Refuses TLS, and tells both sides. */
void tls_connection_refuse(const struct tls_connection *c, const char *reason);
