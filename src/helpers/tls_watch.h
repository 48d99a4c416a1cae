/* SPDX-License-Identifier: MIT */
/* helpers/tls_watch.h - watches the files of certificates and keys for changes. */
#pragma once

#include "helpers/tls_options.h"

enum tls_watch { TLS_WATCH_SAME, TLS_WATCH_NEW, TLS_WATCH_LOCKED };

/* Must be called before the files are read. */
void tls_watch_begin(const struct tls_options *o);

/* Checks the files. TLS_WATCH_NEW: they have changed, are stable for a moment, and we can read
 * them. TLS_WATCH_LOCKED: they have changed, but we cannot read them; returned once for each
 * change. */
enum tls_watch tls_watch_look(void);
