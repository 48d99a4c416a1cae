/* SPDX-License-Identifier: MIT */
/* helpers/tls_relay.c - octets between a connection in cipher and a socket in clear. */
#include "helpers/tls_relay.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "io/deadline.h"

enum { GATHERED = 4 * RELAY_PIECE, NOT_LATE = 1 };
enum inward { INWARD_OPEN, INWARD_ENDED };
enum outward { OUTWARD_OPEN, OUTWARD_ENDING, OUTWARD_ENDED };

/* What a direction waits for; it goes on if that is nothing. */
struct wait {
        short connection, clear; /* events of poll(2) */
};

struct relay {
        const struct relay_cipher *cipher;
        int connection, clear;
        enum inward inward;   /* from the connection */
        enum outward outward; /* to it */
        struct wait inward_wait, outward_wait;
        int result;       /* RELAY_LOST or RELAY_BROKEN, or 0 */
        int64_t deadline; /* INT64_MAX before the clear side has ended */
        bool is_hung_up;  /* the connection: poll(2) would say so for ever */
        char *data;       /* that came in */
        size_t at, n;     /* what is left of it */
        ssize_t late;     /* what a read has said after these, or NOT_LATE */
        char *piece;      /* room for what goes out */
};

/* An operation that did not go on. */
static void note(struct relay *r, struct wait *w, ssize_t why) {
        if (why == RELAY_WANTS_INPUT)
                w->connection = POLLIN;
        else if (why == RELAY_WANTS_ROOM)
                w->connection = POLLOUT;
        else
                r->result = why == RELAY_BROKEN ? RELAY_BROKEN : RELAY_LOST;
}

static bool is_waiting(const struct wait *w) {
        return w->connection || w->clear;
}

static void end_soon(struct relay *r) {
        if (r->deadline == INT64_MAX)
                r->deadline = deadline_now() + RELAY_LINGER;
}

/* --- inward: each returns whether something has changed --------------------------------------- */

static ssize_t read_next(struct relay *r) {
        ssize_t k = r->late;

        r->late = NOT_LATE;
        return k == NOT_LATE ? r->cipher->read(r->cipher->context, r->data + r->n, RELAY_PIECE) : k;
}

/* With what the cipher has already: fewer pieces are fewer turns for whoever reads there. What ends
 * it is due when it has been handed over. */
static void gather(struct relay *r, ssize_t k) {
        r->at = 0;
        do
                r->n += (size_t) k;
        while (r->n <= GATHERED - RELAY_PIECE && r->cipher->has_more(r->cipher->context) &&
               (k = read_next(r)) > 0);
        if (k <= 0)
                r->late = k;
}

/* A write that wants input may find that this read has had it. */
static bool receive(struct relay *r) {
        ssize_t k = read_next(r);

        if (r->outward_wait.connection == POLLIN)
                r->outward_wait.connection = 0;
        if (k > 0)
                gather(r, k);
        else if (k == RELAY_ENDED) {
                shutdown(r->clear, SHUT_WR);
                r->inward = INWARD_ENDED;
        } else
                note(r, &r->inward_wait, k);
        return k >= 0;
}

/* What comes next the system knows, unless the cipher has it already. */
static void wait_for_next(struct relay *r) {
        if (r->late == NOT_LATE && !r->cipher->has_more(r->cipher->context))
                r->inward_wait.connection = POLLIN;
}

/* What cannot be handed over is dropped, and nothing may follow it: it would be a message with a
 * hole. The rest is read all the same, for the peer to hear our end. */
static bool hand_over(struct relay *r) {
        ssize_t k = send(r->clear, r->data + r->at, r->n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (k < 0 && errno == EINTR)
                return true;
        if (k < 0 && errno == EAGAIN) {
                r->inward_wait.clear = POLLOUT;
                return false;
        }
        if (k < 0) {
                shutdown(r->clear, SHUT_WR); /* further ones fail, too */
                k = (ssize_t) r->n;
        }
        r->at += (size_t) k;
        r->n -= (size_t) k;
        if (r->n == 0)
                wait_for_next(r);
        return true;
}

static bool move_inward(struct relay *r) {
        if (r->inward == INWARD_ENDED || is_waiting(&r->inward_wait))
                return false;
        return r->n > 0 ? hand_over(r) : receive(r);
}

/* --- outward ---------------------------------------------------------------------------------- */

/* They are there: they were seen. What stayed there would be said twice. */
static void discard(struct relay *r, char *data, size_t n) {
        while (n > 0 && r->result == 0) {
                ssize_t k = recv(r->clear, data, n, MSG_DONTWAIT);

                if (k > 0)
                        n -= (size_t) k;
                else if (k == 0 || errno != EINTR)
                        r->result = RELAY_LOST;
        }
}

static bool send_some(struct relay *r) {
        ssize_t n = recv(r->clear, r->piece, RELAY_PIECE, MSG_PEEK | MSG_DONTWAIT), k;

        if (n < 0 && errno == EINTR)
                return true;
        if (n < 0 && errno == EAGAIN) {
                r->outward_wait.clear = POLLIN;
                return false;
        }
        if (n <= 0) {
                r->outward = OUTWARD_ENDING;
                end_soon(r);
                return true;
        }
        k = r->cipher->write(r->cipher->context, r->piece, (size_t) n);
        if (k > 0)
                discard(r, r->piece, (size_t) k);
        else
                note(r, &r->outward_wait, k);
        if (k == n && n < RELAY_PIECE)
                r->outward_wait.clear = POLLIN;
        return k > 0;
}

static bool say_end(struct relay *r) {
        ssize_t k = r->cipher->end(r->cipher->context);

        if (k <= 0) {
                note(r, &r->outward_wait, k);
                return false;
        }
        shutdown(r->connection, SHUT_WR);
        r->outward = OUTWARD_ENDED;
        return true;
}

static bool move_outward(struct relay *r) {
        if (is_waiting(&r->outward_wait))
                return false;
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

static void stop_waiting(struct wait *w, const struct pollfd fds[static 2], bool is_over) {
        if (is_over || (fds[0].revents && w->connection) || (fds[1].revents & w->clear))
                *w = (struct wait) { 0, 0 };
}

/* The ends of both sides are watched too, if nothing else is wanted of them: until they were seen.
 */
static void wait_for_more(struct relay *r) {
        const short ends = POLLRDHUP | POLLHUP | POLLERR;
        short connection_events = (short) (r->inward_wait.connection | r->outward_wait.connection);
        short clear_events = (short) (r->inward_wait.clear | r->outward_wait.clear);
        bool is_ending = r->deadline != INT64_MAX, is_over;
        struct pollfd fds[] = {
                { connection_events || !r->is_hung_up ? r->connection : -1, connection_events, 0 },
                { clear_events || !is_ending ? r->clear : -1,
                  (short) (clear_events | (is_ending ? 0 : POLLRDHUP)), 0 },
        };

        if (poll(fds, 2, is_ending ? deadline_left(r->deadline) : -1) <= 0)
                return;
        if (!connection_events && (fds[0].revents & POLLERR))
                r->result = RELAY_LOST;
        r->is_hung_up |= (fds[0].revents & POLLHUP) != 0;
        if (fds[1].revents & ends)
                end_soon(r);
        is_over = ((fds[0].revents | fds[1].revents) & ends) != 0;
        stop_waiting(&r->inward_wait, fds, is_over);
        stop_waiting(&r->outward_wait, fds, is_over);
}

int relay_run(const struct relay_cipher *cipher, int connection, int clear) {
        /* pages that are not used cost nothing */
        static char data[GATHERED] = "", piece[RELAY_PIECE] = "";
        struct relay r = {
                .cipher = cipher,
                .connection = connection,
                .clear = clear,
                .deadline = INT64_MAX,
                .data = data,
                .late = NOT_LATE,
                .piece = piece,
        };
        bool has_moved_inward, has_moved_outward;

        while (is_going_on(&r)) {
                has_moved_inward = move_inward(&r);
                has_moved_outward = r.result == 0 && move_outward(&r);
                if (r.result == 0 && !has_moved_inward && !has_moved_outward)
                        wait_for_more(&r);
        }
        return r.result;
}
