/* SPDX-License-Identifier: MIT */
/* helpers/tls_receive.c - a request with its descriptors, from a socket of whole datagrams.
 *
 * Whoever asks may have been taken over by somebody: it can send what it likes, but not make us
 * keep its descriptors, or end.
 */
#include "helpers/tls_receive.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helpers/tls_children.h"
#include "helpers/tls_request.h"
#include "io/fd.h"

enum {
        ROOM = CMSG_SPACE(8 * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred)),
        DESCRIPTORS_MAX = ROOM / sizeof(int), /* the kernel closes those beyond */
};

struct descriptors {
        int fds[DESCRIPTORS_MAX];
        size_t n;
};

/* All of them, however they were packed. */
static struct descriptors take_descriptors(struct msghdr *message) {
        struct descriptors d = { .n = 0 };

        for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h; h = CMSG_NXTHDR(message, h)) {
                size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

                if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
                        continue;
                for (size_t i = 0; i < n && d.n < DESCRIPTORS_MAX; i++)
                        memcpy(&d.fds[d.n++], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
        }
        return d;
}

/* The process: none if it is in another name space, or if the socket does not tell. */
static uint64_t find_asker(struct msghdr *message) {
        struct ucred who = { .pid = TLS_ASKER_UNKNOWN };

        for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h; h = CMSG_NXTHDR(message, h))
                if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_CREDENTIALS &&
                    h->cmsg_len == CMSG_LEN(sizeof(who)))
                        memcpy(&who, CMSG_DATA(h), sizeof(who));
        return (uint64_t) who.pid;
}

static int option_of(int fd, int name) {
        int value;
        socklen_t n = sizeof(value);

        return getsockopt(fd, SOL_SOCKET, name, &value, &n) == 0 ? value : -1;
}

static bool is_stream(int fd) {
        return option_of(fd, SO_TYPE) == SOCK_STREAM && option_of(fd, SO_ACCEPTCONN) == 0;
}

/* The two that lead to whoever asks are no connections to elsewhere. None is the log, which whoever
 * asks shares with others: we would shut it down. */
static bool are_right(const struct descriptors *d, bool is_connecting) {
        if (d->n != TLS_REQUEST_DESCRIPTORS)
                return false;
        for (size_t i = 0; i < d->n; i++)
                if (!is_stream(d->fds[i]) ||
                    (fd_is_outgoing(d->fds[i]) && !(is_connecting && i == 0)))
                        return false;
        return option_of(d->fds[1], SO_DOMAIN) == AF_UNIX &&
               option_of(d->fds[2], SO_DOMAIN) == AF_UNIX;
}

static void close_all(const struct descriptors *d) {
        for (size_t i = 0; i < d->n; i++)
                close(d->fds[i]);
}

/* An empty datagram looks like the end. */
static bool is_end(int fd) {
        struct pollfd p = { fd, POLLRDHUP, 0 };

        return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static void set_peer(struct tls_connection *c, const char *named) {
        if (named ? !peer_parse(named, &c->peer) : !peer_of_socket(c->wire, &c->peer))
                peer_unknown(&c->peer);
}

/* What we want of the server. False: that cannot be. */
static bool set_trust(struct tls_connection *c, const char *data, size_t n) {
        char *verify, *word;

        memcpy(c->words, data, n);
        c->server = &c->asked;
        c->asked.name = tls_request_value(c->words, n, "NAME");
        verify = (char *) tls_request_value(c->words, n, "VERIFY");
        while (verify && (word = strsep(&verify, ",")))
                if (!tls_trust_add(&c->asked, word))
                        return false;
        return true;
}

enum tls_received tls_receive(int fd, bool is_connecting, struct tls_connection *ret) {
        char data[TLS_REQUEST_MAX];
        _Alignas(struct cmsghdr) char control[ROOM];
        struct iovec room = { data, sizeof(data) };
        struct msghdr message = { .msg_iov = &room,
                                  .msg_iovlen = 1,
                                  .msg_control = control,
                                  .msg_controllen = sizeof(control) };
        ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        struct descriptors d;

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? TLS_REQUEST_LATER : TLS_REQUEST_NEVER;
        d = take_descriptors(&message);
        if (n == 0 && d.n == 0 && is_end(fd))
                return TLS_REQUEST_NEVER;
        if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
            !tls_request_is_whole(data, (size_t) n, is_connecting ? 'C' : 'Y') ||
            !are_right(&d, is_connecting) || (is_connecting && !set_trust(ret, data, (size_t) n))) {
                close_all(&d);
                return TLS_REQUEST_WRONG;
        }
        ret->wire = d.fds[0];
        ret->control = d.fds[1];
        ret->clear = d.fds[2];
        ret->asker = find_asker(&message);
        set_peer(ret, tls_request_value(data, (size_t) n, "PEER"));
        return TLS_REQUEST;
}

void tls_receive_close(const struct tls_connection *c) {
        close(c->wire);
        close(c->control);
        close(c->clear);
}
