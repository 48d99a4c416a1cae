/* SPDX-License-Identifier: MIT */
/* io/channel.h - the connection to a peer: a buffered pair of descriptors with deadlines.
 *
 * Output is buffered, and sent when we are about to wait for input: replies to pipelined commands
 * (RFC 2920) therefore leave together. The descriptors are plain fields and may be replaced between
 * two calls.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/patience.h"

enum { CHANNEL_IN = 128 * 1024, CHANNEL_OUT = 8 * 1024 };

struct channel {
        int in, out; /* descriptors */
        /* the connection itself, if a TLS engine is between it and `in` and `out`; otherwise -1 */
        int wire;
        uint64_t timeout; /* seconds to wait for the peer, in each wait */
        /* of the current operation (io/deadline.h); INT64_MAX if it has none */
        int64_t deadline;
        /* after an order to stop: until when the peer can still take output; INT64_MAX before */
        int64_t linger_deadline;
        struct patience *patience; /* what else ends a wait */
        int error; /* negative errno of the first write that failed: nothing more is sent */
        size_t n_out;
        char out_buffer[CHANNEL_OUT];
        char in_buffer[CHANNEL_IN];
};

void channel_init(struct channel *c, int in, int out, struct patience *p);

/* Queues octets for the peer. Returns 0 or a negative errno. */
int channel_write(struct channel *c, const char *data, size_t n);

/* Sends what is queued. Returns 0, -ETIMEDOUT, what patience_wait() returns, or what send(2) failed
 * with; the same again each time after that. After an order to stop it waits two more seconds for
 * the peer to take everything. */
int channel_flush(struct channel *c);

/* Flushes, then waits for input. `*ret` points into the buffer, valid and writable until the next
 * call. Returns its octets, 0 at the end of input, or: -ETIMEDOUT when the peer was silent for
 * `timeout`, -ETIME when the deadline has passed, what patience_wait() returns, or another negative
 * errno. */
int64_t channel_read(struct channel *c, char **ret);

/* Waits for input until `deadline`, and copies what is there, up to `room` octets, without taking
 * it. Returns as channel_read() does. */
int64_t channel_peek(struct channel *c, char *ret, size_t room, int64_t deadline);

/* Consumes the first n octets that channel_peek() returned. Returns 0 or a negative errno. */
int channel_take(struct channel *c, size_t n);

/* Whether there is something to read without waiting: octets, or the end of input. */
bool channel_has_input(const struct channel *c);

/* Whether the peer is already known to have reset the connection. */
bool channel_is_reset(const struct channel *c);

/* Whether the peer has everything that was sent, as far as the kernel knows: nothing is
 * unacknowledged, and the connection was not reset. A TLS engine takes data only after the
 * connection has taken it. */
bool channel_is_heard(const struct channel *c);

/* Flushes and ends a connection on which the peer may still be sending, so that the last reply
 * arrives: with TCP, closing with unread input resets the connection, and the peer loses the reply.
 * Takes at most two seconds. Returns as channel_is_heard(). */
bool channel_hang_up(struct channel *c);
