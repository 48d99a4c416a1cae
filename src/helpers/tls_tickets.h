/* SPDX-License-Identifier: MIT */
/* helpers/tls_tickets.h - session tickets, encrypted with a key that is kept in memory only.
 */
#pragma once

#include <openssl/ssl.h>

/* From now on each client gets one ticket. */
void tls_tickets_offer(SSL_CTX *context);

/* To be called before each connection: makes a new key after twelve hours. The previous one still
 * decrypts tickets.
 */
void tls_tickets_renew(void);
