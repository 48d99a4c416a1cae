/* SPDX-License-Identifier: MIT */
/* broker/handover.h - starts a TLS engine for the session's connection: smtpd-tls(8). */
#pragma once

#include <stdbool.h>

#include "broker/wire.h"

/* Whether a descriptor is a stream socket, as an engine needs. */
bool handover_is_socket(int fd);

/* Starts the engine with the connection, its control socket and the plain side as descriptors 0, 3
 * and 4. It outlives us, so that it can still close TLS properly when the session ends. Returns 0
 * or a negative errno. */
int handover_start(const char *path, char *const *argv, const struct passed *passed);
