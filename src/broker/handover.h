/* SPDX-License-Identifier: MIT */
/* broker/handover.h - the broker starts a TLS engine for its session's connection: smtpd-tls(8). */
#pragma once

#include <stdbool.h>

#include "broker/wire.h"

/* What an engine speaks with. */
bool handover_is_socket(int fd);

/* Starts it with the connection, its control socket and the plain side as descriptors 0, 3 and
 * 4. It outlives us: a session that ends must not cut its farewell. Returns 0, or the negative
 * errno of what could not be done. */
int handover_start(const char *path, char *const *argv, const struct passed *passed);
