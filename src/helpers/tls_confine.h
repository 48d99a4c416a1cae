/* SPDX-License-Identifier: MIT */
/* helpers/tls_confine.h - confines the engine: before it reads the key, and before it reads the
 * first octet of a peer.
 */
#pragma once

#include <stdbool.h>

/* Disables core dumps, debugging by the same user, and new privileges. */
void tls_confine_before_key(void);

/* Confines a server to its requests and to forking copies of itself; with `reads_files` these may
 * read files. */
void tls_confine_server(bool reads_files);

/* Confines the process of a connection to its descriptors, memory and time; `reads_files` if it
 * reads certificates of authorities to verify a server. Does nothing if there are no filters here.
 */
void tls_confine_connection(bool reads_files);
