/* SPDX-License-Identifier: MIT */
/* io/channel.h - the connection to a peer: a buffered pair of descriptors with deadlines.
 *
 * Replies gather in the buffer and leave when we are about to wait for input, so that pipelining
 * (RFC 2920) comes out right by construction. The descriptors are plain fields and may be exchanged
 * between two calls.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/patience.h"

enum { CHANNEL_IN = 128 * 1024, CHANNEL_OUT = 8 * 1024 };

struct channel {
        int in, out; /* descriptors */
        /* the connection itself, if somebody in between passes on what goes to and from `out`
         * (TLS); -1: there is nobody */
        int wire;
        uint64_t timeout; /* seconds to wait for the peer, in each wait */
        /* of what is under way, see io/deadline.h; INT64_MAX: it has none of its own */
        int64_t deadline;
        /* until when the peer can hear us although all is to end; INT64_MAX before that was so */
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
 * with; the same again each time after that. Told to stop, it waits two more seconds for the peer
 * to take everything. */
int channel_flush(struct channel *c);

/* Flushes, then waits for input. `*ret` points into the buffer, valid and writable until the next
 * call. Returns its octets, 0 at the end of input, or: -ETIMEDOUT when the peer was silent for
 * `timeout`, -ETIME when the deadline has passed, what patience_wait() returns, or another negative
 * errno. */
int64_t channel_read(struct channel *c, char **ret);

/* Waits for input until `deadline`, and copies what is there, up to `room` octets, without taking
 * it. Returns as channel_read() does. */
int64_t channel_peek(struct channel *c, char *ret, size_t room, int64_t deadline);

/* Takes the first n octets of what was seen so. Returns 0 or a negative errno. */
int channel_take(struct channel *c, size_t n);

/* Whether there is something to read without waiting: octets, or the end of input. */
bool channel_has_input(const struct channel *c);

/* Whether the peer has reset the connection, as far as it is known yet. */
bool channel_is_reset(const struct channel *c);

/* Whether the peer has all that was sent, as far as can be known: nothing is unacknowledged, and
 * nobody has reset the connection. Whoever is in between takes nothing before the connection has
 * it. */
bool channel_is_heard(const struct channel *c);

/* Flushes and ends a connection on which the peer may still be talking, so that the last reply
 * arrives: on TCP, unread input at close makes the kernel reset the connection, and the peer loses
 * what we said. Takes at most two seconds. Returns whether the peer has all that was sent, as far
 * as can be known. */
bool channel_hang_up(struct channel *c);
