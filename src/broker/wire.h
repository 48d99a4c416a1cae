/* SPDX-License-Identifier: MIT */
/* broker/wire.h - octets, and descriptors, over the socket between a session and its broker,
 * or a TLS engine. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { PASSED_MAX = 3 };

/* Descriptors that go with octets: the first n. */
struct passed {
        size_t n;
        int fds[PASSED_MAX];
};

/* Sends n octets, and with the first the descriptors, unless that is NULL. Returns 0,
 * -ETIMEDOUT at the deadline (io/deadline.h), or what sendmsg(2) failed with. */
int wire_send(int fd, const void *data, size_t n, const struct passed *passed, int64_t deadline);

/* Receives n octets, and the descriptors that come with them. Descriptors beyond PASSED_MAX, and
 * all if `ret_passed` is NULL, are closed. Returns 0, -ECONNRESET at the end, -ETIMEDOUT at the
 * deadline, or what recvmsg(2) failed with. */
int wire_receive(int fd, void *data, size_t n, struct passed *ret_passed, int64_t deadline);

/* Closes all but the first n. */
void wire_drop(struct passed *passed, size_t n);
