/* SPDX-License-Identifier: MIT */
/* smtp/proxy_header.h - the header of the PROXY protocol, in which a balancer names its client:
 * version 1 (a line) and version 2 (binary), as specified in HAProxy's proxy-protocol.txt.
 *
 * Pure. Takes the octets of the header as they arrive, and none after it: the next one is the
 * client's. The caller decides whether the sender may be believed.
 */
#pragma once

#include <stddef.h>

#include "smtp/security.h"

enum {
        PROXY_HEADER_MAX = 16 + 2048, /* octets; in version 1 there are 107 at most */
        PROXY_CLIENT_MAX = 64,
};

enum proxy_status {
        PROXY_MORE, /* all was taken, and the header goes on */
        PROXY_DONE,
        PROXY_BAD, /* that is no header */
};

/* Starts zeroed. */
struct proxy_header {
        /* The client: "IPV4:PORT" or "[IPV6]:PORT", without a port if that is 0. "" if none is
         * named: it is the balancer's own connection (a health check), or that of a client without
         * such an address. */
        char client[PROXY_CLIENT_MAX];
        struct security tls; /* that ends at the balancer */

        /* its own business */
        size_t n;
        char octets[PROXY_HEADER_MAX];
};

/* Takes `*ret_used` of n octets: all of them, unless the header is complete or invalid. Must not be
 * called again after that. */
enum proxy_status proxy_header_take(struct proxy_header *h, const char *in, size_t n,
                                    size_t *ret_used);
