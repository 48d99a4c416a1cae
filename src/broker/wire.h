/* broker/wire.h - octets, and a descriptor, over the socket between a session and its broker. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Sends n octets, and with the first a descriptor, unless that is -1. Returns 0, -ETIMEDOUT at the
 * deadline (io/deadline.h), or what sendmsg(2) failed with. */
int wire_send(int fd, const void *data, size_t n, int passed, int64_t deadline);

/* Receives n octets, and with them a descriptor, -1 if none comes. Those that come besides, and
 * all if `ret_passed` is NULL, are closed. Returns 0, -ECONNRESET at the end, -ETIMEDOUT at the
 * deadline, or what recvmsg(2) failed with. */
int wire_receive(int fd, void *data, size_t n, int *ret_passed, int64_t deadline);
