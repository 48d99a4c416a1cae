/* helpers/tls_facts.h - what a handshake has brought to light. */
#pragma once

#include <openssl/ssl.h>

#include "helpers/tls_answer.h"

/* The variables of a connection, named as those of Apache's mod_ssl. */
void tls_facts_add(struct tls_answer *a, const SSL *ssl);
