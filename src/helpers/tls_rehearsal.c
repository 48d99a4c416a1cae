/* SPDX-License-Identifier: MIT */
/* helpers/tls_rehearsal.c - a handshake with ourselves.
 *
 * OpenSSL 3 looks algorithms up when they are first used, which takes longer than to use them: each
 * process of a connection would do it again.
 */
#include "helpers/tls_rehearsal.h"

#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helpers/tls_self_signed.h"
#include "helpers/tls_socket.h"

enum { ROUNDS = 8 };

/* Both sides speak in turn, until both are done. */
static bool shake_hands(SSL *client, SSL *server) {
        bool is_done = false;

        for (int i = 0; i < ROUNDS && !is_done; i++) {
                bool is_client_done = SSL_do_handshake(client) == 1;

                is_done = SSL_do_handshake(server) == 1 && is_client_done;
        }
        return is_done;
}

/* A word in each direction. */
static void talk(SSL *client, SSL *server) {
        char octets[16] = "word";

        SSL_write(client, octets, sizeof(octets));
        SSL_read(server, octets, sizeof(octets));
        SSL_write(server, octets, sizeof(octets));
        SSL_read(client, octets, sizeof(octets));
}

static bool use_socket(SSL *ssl, int fd) {
        BIO *socket = tls_socket_new(fd);

        if (socket)
                SSL_set_bio(ssl, socket, socket);
        return socket != NULL;
}

static void rehearse(SSL *client, SSL *server) {
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return;
        if (use_socket(client, fds[0]) && use_socket(server, fds[1])) {
                SSL_set_connect_state(client);
                SSL_set_accept_state(server);
                if (shake_hands(client, server))
                        talk(client, server);
        }
        close(fds[0]);
        close(fds[1]);
}

/* Whom we talk to as a server is a client, which does not verify us; and the other way round. */
static SSL_CTX *new_other_side(bool is_server) {
        SSL_CTX *other = SSL_CTX_new(is_server ? TLS_client_method() : TLS_server_method());

        if (other && !is_server)
                tls_self_signed_use(other, "localhost");
        return other;
}

void tls_rehearse(SSL_CTX *context, bool is_server) {
        SSL_CTX *other = new_other_side(is_server);
        SSL *ours = SSL_new(context), *theirs = other ? SSL_new(other) : NULL;

        if (ours && theirs)
                rehearse(is_server ? theirs : ours, is_server ? ours : theirs);
        SSL_free(ours);
        SSL_free(theirs);
        SSL_CTX_free(other);
        ERR_clear_error();
}
