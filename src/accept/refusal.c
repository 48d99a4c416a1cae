/* SPDX-License-Identifier: MIT */
/* accept/refusal.c - refuses clients that get no session. */
#include "accept/refusal.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/deadline.h"
#include "io/log.h"

enum {
        PAUSE = 1000,       /* milliseconds between two log lines */
        UNREAD_BLOCKS = 16, /* of 4 KiB that are read before we hang up */
        TO_ALL = 1,         /* seconds */
};

static void log_now(struct refusals *r, size_t n_sessions) {
        struct log_line line;

        if (r->n == 0)
                return;
        log_start(&line, "refused");
        log_field(&line, "address", "%s", r->address);
        log_field(&line, "reason", "%s", r->reason);
        log_number(&line, "sessions", n_sessions);
        log_number(&line, "clients", r->n);
        log_peer(&line, &r->peer);
        log_send(&line, LOG_WARNING);
        r->n = 0;
        r->next_line = deadline_now() + PAUSE;
}

void refusal_log(struct refusals *r, size_t n_sessions) {
        if (deadline_now() >= r->next_line)
                log_now(r, n_sessions);
}

/* A client that has said something already loses our last words if that is left unread: a reset
 * follows them. */
void refusal_say(struct refusals *r, const struct listener *l, int connection,
                 const struct refusal *refusal, size_t n_sessions) {
        char unread[4096];

        if (!peer_of_socket(connection, &r->peer)) /* it is gone already */
                strcpy(r->peer.address, "unknown");
        if (!l->is_tls) /* there it would be no TLS */
                send(connection, refusal->reply, strlen(refusal->reply),
                     MSG_DONTWAIT | MSG_NOSIGNAL);
        shutdown(connection, SHUT_WR);
        for (int i = 0; i < UNREAD_BLOCKS; i++)
                if (recv(connection, unread, sizeof(unread), MSG_DONTWAIT) <= 0)
                        break;
        close(connection);
        r->n++;
        r->figures->n[refusal->figure]++;
        r->address = l->address;
        r->reason = refusal->reason;
        refusal_log(r, n_sessions);
}

void refusal_to_all(struct refusals *r, const struct listeners *l, size_t n, int stop_fd,
                    const struct refusal *refusal) {
        struct pollfd fds[LISTENERS_MAX + 1] = { { .fd = stop_fd, .events = POLLIN } };
        int64_t deadline = deadline_after(TO_ALL);

        for (size_t i = 0; i < n; i++)
                fds[i + 1] = (struct pollfd) { .fd = l->items[i].fd, .events = POLLIN };
        if (poll(fds, n + 1, 0) == 0)
                return;
        while (poll(fds, n + 1, deadline_left(deadline)) > 0 && !fds[0].revents)
                for (size_t i = 0; i < n; i++) {
                        int fd = -1;

                        if (fds[i + 1].revents)
                                fd = accept4(fds[i + 1].fd, NULL, NULL, SOCK_CLOEXEC);
                        if (fd >= 0)
                                refusal_say(r, l->items + i, fd, refusal, 0);
                }
}

void refusal_to_queue(struct refusals *r, const struct listeners *l, const struct refusal *refusal,
                      size_t n_sessions) {
        int64_t deadline = deadline_after(TO_ALL);

        for (size_t i = 0; i < l->n; i++) {
                const struct listener *from = l->items + i;
                int fd;

                while (!from->is_passed && deadline_left(deadline) > 0 &&
                       (fd = accept4(from->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
                        refusal_say(r, from, fd, refusal, n_sessions);
        }
        log_now(r, n_sessions);
}
