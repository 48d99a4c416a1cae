/* SPDX-License-Identifier: MIT */
/* helpers/tls_request.h - what a server of TLS is asked: a datagram "Y", or "C" for TLS as the
 * client of a server, and "NAME=value", a NUL after each, with three descriptors: the connection,
 * where the answer goes, the connection in clear.
 *
 * Pure. Unknown names are ignored, so that newer programs can send requests too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
        TLS_REQUEST_MAX = 1024,
        TLS_REQUEST_DESCRIPTORS = 3,
};

/* Whether this is a complete request of this kind. */
bool tls_request_is_whole(const char *data, size_t n, char kind);

/* The value of a variable in a complete request, ending with a NUL; or NULL. */
const char *tls_request_value(const char *data, size_t n, const char *name);
