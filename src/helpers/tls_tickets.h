/* SPDX-License-Identifier: MIT */
/* helpers/tls_tickets.h - what a client can come back with: its session, encrypted with a key that
 * is in memory only.
 */
#pragma once

#include <openssl/ssl.h>

/* From now on each client gets one ticket. */
void tls_tickets_offer(SSL_CTX *context);

/* Before each connection: after twelve hours there is a new key. The last one still opens tickets.
 */
void tls_tickets_renew(void);
