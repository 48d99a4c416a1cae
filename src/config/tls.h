/* SPDX-License-Identifier: MIT */
/* config/tls.h - the options of TLS toward clients: their values, and what does not go together. */
#pragma once

#include "config/read.h"

/* Where everything has been read: completes the names of files and the mode, and complains. */
void tls_settle(struct reading *r);

/* A credential's name, the value of an option, becomes its path. --check, which the service manager
 * gives none, leaves it. */
void tls_complete(struct reading *r, const char *option, char **name);
