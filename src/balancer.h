/* SPDX-License-Identifier: MIT */
/* balancer.h - a session that comes by way of a balancer (proxy-from). It begins with a header of
 * the PROXY protocol, which says who the client is; what comes after it is the client's.
 */
#pragma once

#include "io/channel.h"
#include "io/peer.h"
#include "session_log.h"
#include "smtp/security.h"

/* Reads the header, and not an octet more. `p` (peer_set_via()) becomes the client that it names,
 * the broker hears of it, and `ret_tls` is the TLS that ends at the balancer. Returns GOES_ON; or
 * how the session ends, with the reason in `ret_why` if that is END_NO_HEADER. */
enum session_end balancer_hear(struct channel *client, struct peer *p, struct security *ret_tls,
                               char ret_why[static SECURITY_REASON_MAX]);
