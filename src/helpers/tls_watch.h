/* SPDX-License-Identifier: MIT */
/* helpers/tls_watch.h - whether the files of certificates and keys have changed. */
#pragma once

#include "helpers/tls_options.h"

enum tls_watch { TLS_WATCH_SAME, TLS_WATCH_NEW, TLS_WATCH_LOCKED };

/* Before they are read. */
void tls_watch_begin(const struct tls_options *o);

/* TLS_WATCH_NEW: they are others now, have been for a moment, and we could read them.
 * TLS_WATCH_LOCKED: they are others, and we could not; it is said once of each change. */
enum tls_watch tls_watch_look(void);
