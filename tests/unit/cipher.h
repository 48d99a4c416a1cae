/* SPDX-License-Identifier: MIT */
/* cipher.h - a cipher that does what TLS may do, for test-relay.c. */
#pragma once

#include "helpers/tls_relay.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "unit.h"

enum {
        KEY = 0x5a,
        MUCH = 3 * 1024 * 1024,
        STATUS = 100, /* less the relay's result */
        AHEAD = 3 * RELAY_PIECE,
        RECORD = 1000,
        GOOD = 2 * RECORD, /* octets, before it breaks */
};

/* Every other operation does not go on at first: as with the peer's new keys, or half a record. */
struct cipher {
        int connection;
        bool is_odd; /* it stops and starts */
        unsigned n_reads, n_writes;
        size_t n_begun; /* octets of the write that has not gone on; the same must come again */
        char begun[RELAY_PIECE];
        ssize_t reads_as; /* what each read returns, if not 0 */
        bool is_ahead;    /* it has read more of the connection than a read returns */
        char ahead[AHEAD];
        size_t at, n_ahead;
        size_t n_read, n_good; /* it breaks after so many octets, if not 0: */
        bool is_broken;        /* it says so once */
};

static inline void encipher(char *data, size_t n) {
        for (size_t i = 0; i < n; i++)
                data[i] = (char) (data[i] ^ KEY);
}

static inline bool stops(const struct cipher *c, unsigned *n) {
        return c->is_odd && (*n)++ % 2 == 0;
}

static inline ssize_t in_relay_terms(ssize_t k, int waiting) {
        if (k >= 0)
                return k;
        return errno == EAGAIN ? waiting : RELAY_LOST;
}

static inline ssize_t read_record(struct cipher *c, char *data) {
        size_t n = c->n_ahead - c->at < RECORD ? c->n_ahead - c->at : RECORD;

        if (c->is_broken)
                return RELAY_LOST;
        c->is_broken = c->n_good > 0 && c->n_read == c->n_good;
        if (c->is_broken)
                return RELAY_BROKEN;
        c->n_read += n;
        memcpy(data, c->ahead + c->at, n);
        encipher(data, n);
        c->at += n;
        return (ssize_t) n;
}

static inline ssize_t read_ahead(struct cipher *c, char *data) {
        ssize_t k = 1;

        if (c->at == c->n_ahead) {
                c->at = 0;
                k = recv(c->connection, c->ahead, AHEAD, MSG_DONTWAIT);
                c->n_ahead = k > 0 ? (size_t) k : 0;
        }
        return k > 0 ? read_record(c, data) : in_relay_terms(k, RELAY_WANTS_INPUT);
}

static inline ssize_t cipher_read(void *context, char *data, size_t n) {
        struct cipher *c = context;
        ssize_t k;

        if (c->reads_as != 0)
                return c->reads_as;
        if (c->is_ahead)
                return read_ahead(c, data);
        if (stops(c, &c->n_reads))
                return RELAY_WANTS_ROOM;
        k = recv(c->connection, data, c->is_odd ? n % 5000 + 1 : n, MSG_DONTWAIT);
        if (k > 0)
                encipher(data, (size_t) k);
        return in_relay_terms(k, RELAY_WANTS_INPUT);
}

static inline ssize_t cipher_write(void *context, const char *data, size_t n) {
        struct cipher *c = context;
        char copy[RELAY_PIECE];
        size_t part = c->is_odd && n > 7 ? n - 7 : n;
        ssize_t k;

        ck_assert_uint_le(n, sizeof(copy));
        ck_assert_uint_le(c->n_begun, n);
        ck_assert_mem_eq(data, c->begun, c->n_begun);
        memcpy(c->begun, data, n);
        c->n_begun = n;
        if (stops(c, &c->n_writes))
                return RELAY_WANTS_ROOM;
        memcpy(copy, data, part);
        encipher(copy, part);
        k = send(c->connection, copy, part, MSG_DONTWAIT | MSG_NOSIGNAL);
        c->n_begun = k > 0 ? 0 : c->n_begun;
        return in_relay_terms(k, RELAY_WANTS_ROOM);
}

static inline ssize_t cipher_end(void *context) {
        struct cipher *c = context;
        char farewell = KEY; /* a NUL */

        if (stops(c, &c->n_writes))
                return RELAY_WANTS_ROOM;
        return in_relay_terms(send(c->connection, &farewell, 1, MSG_DONTWAIT | MSG_NOSIGNAL),
                              RELAY_WANTS_ROOM);
}

static inline bool cipher_has_more(void *context) {
        const struct cipher *c = context;

        return c->at < c->n_ahead;
}

static const struct cipher plain = { .is_odd = false };
