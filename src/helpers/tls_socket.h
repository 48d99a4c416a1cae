/* SPDX-License-Identifier: MIT */
/* helpers/tls_socket.h - the socket below TLS: it never waits, whatever its flags are, which others
 * share, and raises no SIGPIPE.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

/* What TLS on this socket is made from (SSL_set_bio() twice); NULL if there is no memory. */
BIO *tls_socket_new(int fd);

/* Whether the first that came is no TLS but text, as of a client that was told another port. */
bool tls_socket_is_text(BIO *bio);
