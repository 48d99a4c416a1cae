/* SPDX-License-Identifier: MIT */
/* io/connect.h - from "HOST[:PORT]" or "/SOCKET" to a connected descriptor. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "io/patience.h"

/* Whether `s` is HOST, HOST:PORT, [IPV6], [IPV6]:PORT or /SOCKET. */
bool connect_is_endpoint(const char *s);

/* Connects to it; `port` is for those that name none. The addresses of a name are tried in order,
 * each for at most `timeout` seconds, and as long as there is patience. Returns a descriptor that
 * is closed on exec and does not block; or a negative errno, and in
 * `*ret_why` what failed last, as a constant text. A name is looked up as getaddrinfo(3) does it,
 * an address is not. */
int connect_to(const char *endpoint, const char *port, uint64_t timeout, struct patience *p,
               const char **ret_why);

/* Looks a name up, as connect_to() would, without connecting. Returns NULL if there is an address
 * (or a local socket), or why not, as a constant text. */
const char *connect_resolve(const char *endpoint);
