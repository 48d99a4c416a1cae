/* SPDX-License-Identifier: MIT */
/* balancer.h - a session through a balancer (proxy-from). It begins with a header of the PROXY
 * protocol that names the client; everything after it comes from the client.
 */
#pragma once

#include "io/channel.h"
#include "io/peer.h"
#include "session_log.h"
#include "smtp/security.h"

/* Reads the header, and nothing after it. Sets `p` (peer_set_via()) to the client that it names,
 * tells the broker, and sets `ret_tls` to the TLS that ends at the balancer. Returns GOES_ON; or
 * how the session ends, with the reason in `ret_why` for END_NO_HEADER. */
enum session_end balancer_hear(struct channel *client, struct peer *p, struct security *ret_tls,
                               char ret_why[static SECURITY_REASON_MAX]);
