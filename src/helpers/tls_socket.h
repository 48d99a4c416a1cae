/* SPDX-License-Identifier: MIT */
/* helpers/tls_socket.h - the socket below TLS: never blocks, whatever the socket's flags are, which
 * other processes may share, and raises no SIGPIPE.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

/* Makes the BIO for this socket, for both directions of SSL_set_bio(); NULL if memory runs out. */
BIO *tls_socket_new(int fd);

/* Whether the first input was plain text instead of TLS, for instance because the client uses the
 * wrong port. */
bool tls_socket_is_text(BIO *bio);
