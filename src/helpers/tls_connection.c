/* SPDX-License-Identifier: MIT */
/* helpers/tls_connection.c - one connection: the handshake, the answer, and then the relay. */
#include "helpers/tls_connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/array.h"
#include "helpers/tls_answer.h"
#include "helpers/tls_complain.h"
#include "helpers/tls_confine.h"
#include "helpers/tls_facts.h"
#include "helpers/tls_relay.h"
#include "helpers/tls_socket.h"
#include "io/deadline.h"
#include "io/log.h"

enum {
        ANSWER_SECONDS = 10,  /* for whoever asked to take it */
        FAREWELL_SECONDS = 1, /* for a peer without TLS to take our alert */
        GRACE_SECONDS = 5,    /* more, and the handshake does not end by itself */
};

/* --- what OpenSSL says ------------------------------------------------------------------------ */

/* Of an operation that returned `result`; in the terms of the relay. */
static int outcome(SSL *ssl, int result) {
        switch (SSL_get_error(ssl, result)) {
        case SSL_ERROR_WANT_READ: return RELAY_WANTS_INPUT;
        case SSL_ERROR_WANT_WRITE: return RELAY_WANTS_ROOM;
        case SSL_ERROR_ZERO_RETURN: return RELAY_ENDED;
        case SSL_ERROR_SSL: return RELAY_BROKEN;
        default: return RELAY_LOST;
        }
}

static ssize_t cipher_read(void *context, char *data, size_t n) {
        int k;

        ERR_clear_error();
        k = SSL_read(context, data, (int) n);
        return k > 0 ? k : outcome(context, k);
}

static ssize_t cipher_write(void *context, const char *data, size_t n) {
        int k;

        ERR_clear_error();
        k = SSL_write(context, data, (int) n);
        return k > 0 ? k : outcome(context, k);
}

/* 0 is: it has been said, and the peer has not said so yet. */
static ssize_t cipher_end(void *context) {
        int k;

        ERR_clear_error();
        k = SSL_shutdown(context);
        return k >= 0 ? 1 : outcome(context, k);
}

static bool cipher_has_more(void *context) {
        return SSL_has_pending(context) == 1;
}

/* --- the handshake ---------------------------------------------------------------------------- */

/* Waits for the peer. Returns NULL, or why that has no use any more. */
static const char *wait_for_peer(const struct tls_connection *c, int wanted, int64_t deadline) {
        struct pollfd fds[] = {
                { c->wire, wanted == RELAY_WANTS_ROOM ? POLLOUT : POLLIN, 0 },
                { c->control, 0, 0 },
        };
        int n = poll(fds, 2, deadline_left(deadline));

        if (n == 0)
                return c->server ? "the server took too long for the handshake"
                                 : "the client took too long for the handshake";
        return n > 0 && fds[1].revents ? "nobody is waiting for the handshake any more" : NULL;
}

static const char *reason_of(SSL *ssl, const struct tls_connection *c, int result) {
        static char room[TLS_TRUST_REASON_MAX];

        if (tls_socket_is_text(SSL_get_rbio(ssl)))
                return c->server ? "the server speaks plain text, not TLS"
                                 : "the client speaks plain text, not TLS";
        if (c->server && c->server->is_verified && SSL_get_verify_result(ssl) != X509_V_OK)
                return tls_trust_judge(c->server, ssl, room);
        if (result == RELAY_BROKEN)
                return tls_complain_reason();
        return c->server ? "the server closed the connection during the handshake"
                         : "the client closed the connection during the handshake";
}

/* NULL: there is TLS; or why there is none. */
static const char *shake_hands(SSL *ssl, const struct tls_connection *c) {
        int64_t deadline = deadline_after(c->timeout);
        const char *reason;
        int result, k;

        for (;;) {
                ERR_clear_error();
                if ((k = SSL_do_handshake(ssl)) == 1)
                        return NULL;
                result = outcome(ssl, k);
                if (result != RELAY_WANTS_INPUT && result != RELAY_WANTS_ROOM)
                        return reason_of(ssl, c, result);
                if ((reason = wait_for_peer(c, result, deadline)))
                        return reason;
        }
}

/* --- the answer ------------------------------------------------------------------------------- */

static bool say(const struct tls_connection *c, const struct tls_answer *a) {
        int64_t deadline = deadline_after(ANSWER_SECONDS);

        for (size_t at = 0; at < a->n && !c->is_silent;) {
                struct pollfd room = { c->control, POLLOUT, 0 };
                ssize_t k = send(c->control, a->text + at, a->n - at, MSG_DONTWAIT | MSG_NOSIGNAL);

                if (k > 0)
                        at += (size_t) k;
                else if (k == 0 || (errno != EAGAIN && errno != EINTR) ||
                         poll(&room, 1, deadline_left(deadline)) == 0)
                        return false;
        }
        return true;
}

static void log_failure(const struct tls_connection *c, const char *reason) {
        struct log_line l;

        log_start(&l, "no TLS");
        log_peer(&l, &c->peer);
        log_chosen(&l, "reason", "%s", reason);
        log_send(&l, LOG_INFO);
}

/* What has come unread would make our end a reset, which takes the alert away from the peer. */
static void take_leave(int wire) {
        int64_t deadline = deadline_after(FAREWELL_SECONDS);
        struct pollfd input = { wire, POLLIN, 0 };
        char data[4096];
        ssize_t k = 1;

        shutdown(wire, SHUT_WR);
        while (k > 0 && poll(&input, 1, deadline_left(deadline)) > 0)
                k = recv(wire, data, sizeof(data), MSG_DONTWAIT);
}

/* Of a server whoever asked says it in the log. */
static void refuse(const struct tls_connection *c, struct tls_answer *a, const char *reason) {
        tls_answer_add(a, "TLS_ERROR", reason);
        say(c, a);
        if (!c->server)
                log_failure(c, reason);
        close(c->control);
        take_leave(c->wire);
}

void tls_connection_refuse(const struct tls_connection *c, const char *reason) {
        struct tls_answer a = { .n = 0 };

        refuse(c, &a, reason);
}

static void relay(SSL *ssl, const struct tls_connection *c) {
        const struct relay_cipher cipher = { ssl, cipher_read, cipher_write, cipher_end,
                                             cipher_has_more };
        struct tls_answer a = { .n = 0 };
        char room[TLS_TRUST_REASON_MAX];
        const char *reason = c->server ? tls_trust_judge(c->server, ssl, room) : NULL;

        tls_facts_add(&a, ssl);
        if (reason) {
                refuse(c, &a, reason);
                return;
        }
        tls_answer_end(&a);
        if (say(c, &a) && relay_run(&cipher, c->wire, c->clear) == RELAY_BROKEN)
                log_failure(c, tls_complain_reason());
}

/* An answer that waits for others to fill a segment would wait for the peer's delayed ACK. */
static void send_at_once(int wire) {
        int yes = 1;

        setsockopt(wire, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

/* A terminal, or who ends a group of processes, does not mean us: our end is that of the sockets,
 * so that the last reply is heard. */
static void ignore_signals(void) {
        static const int numbers[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE };

        for (size_t i = 0; i < ELEMENTS(numbers); i++)
                signal(numbers[i], SIG_IGN);
}

/* Which end of TLS we are. Returns false if memory is out. */
static bool take_role(SSL *ssl, const struct tls_connection *c) {
        if (!c->server) {
                SSL_set_accept_state(ssl);
                return true;
        }
        SSL_set_connect_state(ssl);
        return tls_trust_prepare(c->server, ssl);
}

/* Its own deadline ends the handshake; the alarm ends us if the library does not come back. */
void tls_connection_run(SSL_CTX *context, const struct tls_connection *c) {
        static SSL *ssl; /* never freed: the process ends with the connection */
        static BIO *socket;
        const char *reason;

        ssl = SSL_new(context);
        socket = tls_socket_new(c->wire);
        ignore_signals();
        send_at_once(c->wire);
        tls_confine_connection(c->server != NULL);
        if (!ssl || !socket || !take_role(ssl, c)) {
                tls_connection_refuse(c, "out of memory");
                return;
        }
        SSL_set_bio(ssl, socket, socket);
        alarm(c->timeout + GRACE_SECONDS);
        reason = shake_hands(ssl, c);
        alarm(0);
        if (reason)
                tls_connection_refuse(c, reason);
        else
                relay(ssl, c);
}
