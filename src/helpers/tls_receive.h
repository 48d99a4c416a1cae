/* SPDX-License-Identifier: MIT */
/* helpers/tls_receive.h - a request with its descriptors, from a socket of whole datagrams. */
#pragma once

#include "helpers/tls_connection.h"

enum tls_received {
        TLS_REQUEST,       /* the descriptors are ours now */
        TLS_REQUEST_WRONG, /* it was none: nothing is left of it */
        TLS_REQUEST_LATER, /* there is none yet */
        TLS_REQUEST_NEVER, /* there will be none any more */
};

/* Does not wait. Sets what a request tells of a connection, on which we are to be the client, or
 * not. */
enum tls_received tls_receive(int fd, bool is_connecting, struct tls_connection *ret);

void tls_receive_close(const struct tls_connection *c);
