/* SPDX-License-Identifier: MIT */
/* helpers/tls_request.h - what a server of TLS is asked: a datagram "Y", or "C" for TLS as the
 * client of a server, and "NAME=value", a NUL after each, with three descriptors: the connection,
 * where the answer goes, the connection in clear.
 *
 * Pure. Names that are not known here are left alone: newer ones can ask too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
        TLS_REQUEST_MAX = 1024,
        TLS_REQUEST_DESCRIPTORS = 3,
};

/* False: it is none of this kind. Then nothing of it is used. */
bool tls_request_is_whole(const char *data, size_t n, char kind);

/* The value of a variable in a whole request, which ends with a NUL; NULL: it is not there. */
const char *tls_request_value(const char *data, size_t n, const char *name);
