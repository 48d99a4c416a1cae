/* SPDX-License-Identifier: MIT */
/* helpers/tls_confine.h - what the engine gives up: before it reads the key, and before it reads
 * the first octet of a peer.
 */
#pragma once

#include <stdbool.h>

/* No core files, no debugger of the same user, no new privileges. */
void tls_confine_before_key(void);

/* A server: its requests, and processes as it is itself, which may have to read files. */
void tls_confine_server(bool reads_files);

/* One connection: its descriptors, memory, time. Whoever verifies a server reads the certificates
 * of authorities meanwhile. Does nothing if it cannot be done here. */
void tls_confine_connection(bool reads_files);
