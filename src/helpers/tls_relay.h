/* SPDX-License-Identifier: MIT */
/* helpers/tls_relay.h - a connection in cipher on one side, octets in clear on the other: each is
 * passed on to the other side, until both have said that nothing will follow.
 *
 * An octet in clear leaves its socket only after the connection's socket has taken it: the writer
 * can see with SIOCOUTQ on both sockets whether the peer has everything.
 *
 * There are no time limits but one: LINGER after the clear side has ended, all is over. What cipher
 * it is the relay does not know.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* What an operation of the cipher returns if that is no number of octets. */
enum {
        RELAY_ENDED = 0,        /* the peer has said that nothing will follow */
        RELAY_WANTS_INPUT = -1, /* again when the connection can be read */
        RELAY_WANTS_ROOM = -2,  /* again when it can be written to */
        RELAY_LOST = -3,        /* the connection is no more */
        RELAY_BROKEN = -4,      /* the peer does not keep to the protocol */
};

/* None of them waits. A write that wanted something is repeated with the same octets, perhaps more.
 */
struct relay_cipher {
        void *context;
        ssize_t (*read)(void *context, char *data, size_t n);
        ssize_t (*write)(void *context, const char *data, size_t n);
        ssize_t (*end)(void *context); /* says that nothing will follow; > 0: it is said */
        /* whether octets have left the connection that no read has returned yet */
        bool (*has_more)(void *context);
};

enum {
        RELAY_LINGER = 2000, /* milliseconds */
        RELAY_PIECE = 16384, /* octets at a time: a record of TLS */
};

/* Returns RELAY_ENDED, also at that limit, RELAY_LOST or RELAY_BROKEN. The sockets may block or
 * not. */
int relay_run(const struct relay_cipher *cipher, int connection, int clear);
