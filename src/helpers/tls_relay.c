/* SPDX-License-Identifier: MIT */
/* helpers/tls_relay.c - octets between a connection in cipher and a socket in clear. */
#include "helpers/tls_relay.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "io/deadline.h"

enum inward { INWARD_OPEN, INWARD_ENDED };
enum outward { OUTWARD_OPEN, OUTWARD_ENDING, OUTWARD_ENDED };

struct relay {
        const struct relay_cipher *cipher;
        int connection, clear;
        enum inward inward;   /* from the connection */
        enum outward outward; /* to it */
        int result;           /* RELAY_LOST or RELAY_BROKEN, or 0 */
        int64_t deadline;     /* INT64_MAX before the clear side has ended */
        short connection_events, clear_events;
        bool is_hung_up; /* the connection: poll(2) would say so for ever */
        char *data;      /* that came in */
        size_t at, n;    /* what is left of it */
};

/* An operation that did not go on. */
static void note(struct relay *r, ssize_t why) {
        if (why == RELAY_WANTS_INPUT)
                r->connection_events |= POLLIN;
        else if (why == RELAY_WANTS_ROOM)
                r->connection_events |= POLLOUT;
        else
                r->result = why == RELAY_BROKEN ? RELAY_BROKEN : RELAY_LOST;
}

static void end_soon(struct relay *r) {
        if (r->deadline == INT64_MAX)
                r->deadline = deadline_now() + RELAY_LINGER;
}

/* --- inward: each returns whether something has changed --------------------------------------- */

static bool receive(struct relay *r) {
        ssize_t k = r->cipher->read(r->cipher->context, r->data, RELAY_PIECE);

        if (k > 0) {
                r->at = 0;
                r->n = (size_t) k;
        } else if (k == RELAY_ENDED) {
                shutdown(r->clear, SHUT_WR);
                r->inward = INWARD_ENDED;
        } else
                note(r, k);
        return k >= 0;
}

/* If nobody reads there any more what comes is dropped: it is read all the same, for the peer to
 * hear our end. */
static bool hand_over(struct relay *r) {
        ssize_t k = send(r->clear, r->data + r->at, r->n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (k < 0 && errno == EINTR)
                return true;
        if (k < 0 && errno == EAGAIN) {
                r->clear_events |= POLLOUT;
                return false;
        }
        if (k < 0)
                k = (ssize_t) r->n;
        r->at += (size_t) k;
        r->n -= (size_t) k;
        return true;
}

static bool move_inward(struct relay *r) {
        if (r->inward == INWARD_ENDED)
                return false;
        return r->n > 0 ? hand_over(r) : receive(r);
}

/* --- outward ---------------------------------------------------------------------------------- */

/* They are there: they were seen. */
static void discard(struct relay *r, char *data, size_t n) {
        while (n > 0) {
                ssize_t k = recv(r->clear, data, n, MSG_DONTWAIT);

                if (k == 0 || (k < 0 && errno != EINTR))
                        return;
                if (k > 0)
                        n -= (size_t) k;
        }
}

static bool send_some(struct relay *r) {
        char data[RELAY_PIECE];
        ssize_t n = recv(r->clear, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT), k;

        if (n < 0 && errno == EINTR)
                return true;
        if (n < 0 && errno == EAGAIN) {
                r->clear_events |= POLLIN;
                return false;
        }
        if (n <= 0) {
                r->outward = OUTWARD_ENDING;
                end_soon(r);
                return true;
        }
        k = r->cipher->write(r->cipher->context, data, (size_t) n);
        if (k > 0)
                discard(r, data, (size_t) k);
        else
                note(r, k);
        return k > 0;
}

static bool say_end(struct relay *r) {
        ssize_t k = r->cipher->end(r->cipher->context);

        if (k <= 0) {
                note(r, k);
                return false;
        }
        shutdown(r->connection, SHUT_WR);
        r->outward = OUTWARD_ENDED;
        return true;
}

static bool move_outward(struct relay *r) {
        switch (r->outward) {
        case OUTWARD_OPEN: return send_some(r);
        case OUTWARD_ENDING: return say_end(r);
        case OUTWARD_ENDED: break;
        }
        return false;
}

/* --- both ------------------------------------------------------------------------------------- */

static bool is_going_on(const struct relay *r) {
        return r->result == 0 && !(r->inward == INWARD_ENDED && r->outward == OUTWARD_ENDED) &&
               (r->deadline == INT64_MAX || deadline_left(r->deadline) > 0);
}

/* The ends of both sides are watched too, if nothing else is wanted of them: until they were seen.
 */
static void wait_for_more(struct relay *r) {
        bool is_ending = r->deadline != INT64_MAX;
        short clear_events = (short) (r->clear_events | (is_ending ? 0 : POLLRDHUP));
        struct pollfd fds[] = {
                { r->connection_events || !r->is_hung_up ? r->connection : -1, r->connection_events,
                  0 },
                { clear_events ? r->clear : -1, clear_events, 0 },
        };

        if (poll(fds, 2, is_ending ? deadline_left(r->deadline) : -1) <= 0)
                return;
        if (!r->connection_events && (fds[0].revents & POLLERR))
                r->result = RELAY_LOST;
        r->is_hung_up |= (fds[0].revents & POLLHUP) != 0;
        if (fds[1].revents & (POLLRDHUP | POLLHUP | POLLERR))
                end_soon(r);
}

int relay_run(const struct relay_cipher *cipher, int connection, int clear) {
        static char data[RELAY_PIECE] = ""; /* pages that are not used cost nothing */
        struct relay r = {
                .cipher = cipher,
                .connection = connection,
                .clear = clear,
                .deadline = INT64_MAX,
                .data = data,
        };
        bool has_moved_inward, has_moved_outward;

        while (is_going_on(&r)) {
                r.connection_events = r.clear_events = 0;
                has_moved_inward = move_inward(&r);
                has_moved_outward = r.result == 0 && move_outward(&r);
                if (r.result == 0 && !has_moved_inward && !has_moved_outward)
                        wait_for_more(&r);
        }
        return r.result;
}
