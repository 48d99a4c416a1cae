/* SPDX-License-Identifier: MIT */
/* helpers/tls_receive.h - receives a request with its descriptors. */
#pragma once

#include "helpers/tls_connection.h"

enum tls_received {
        TLS_REQUEST,       /* the descriptors are ours now */
        TLS_REQUEST_WRONG, /* it was none: nothing is left of it */
        TLS_REQUEST_LATER, /* there is none yet */
        TLS_REQUEST_NEVER, /* there will be none any more */
};

/* Receives a request without waiting, and sets the fields of the connection. `is_connecting` says
 * that we are to be its client. */
enum tls_received tls_receive(int fd, bool is_connecting, struct tls_connection *ret);

void tls_receive_close(const struct tls_connection *c);
