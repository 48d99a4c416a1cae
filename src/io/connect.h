/* SPDX-License-Identifier: MIT */
/* io/connect.h - from "HOST[:PORT]" or "/SOCKET" to a connected descriptor. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "io/patience.h"

/* Whether `s` is HOST, HOST:PORT, [IPV6], [IPV6]:PORT or /SOCKET. */
bool connect_is_endpoint(const char *s);

/* Connects to an endpoint; `port` is the default port. The addresses of a host name are tried in
 * order, each for at most `timeout` seconds, until `p` ends the wait. Returns a non-blocking
 * descriptor that is closed on exec; or a negative errno, and in `*ret_why` the last failure as a
 * constant text. Host names are looked up with getaddrinfo(3); addresses are not. */
int connect_to(const char *endpoint, const char *port, uint64_t timeout, struct patience *p,
               const char **ret_why);

/* Looks up the host name of an endpoint as connect_to() does, without connecting. Returns NULL if
 * there is an address or a local socket; otherwise the reason as a constant text. */
const char *connect_resolve(const char *endpoint);
