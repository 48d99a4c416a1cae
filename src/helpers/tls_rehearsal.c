/* SPDX-License-Identifier: MIT */
/* helpers/tls_rehearsal.c - a handshake with ourselves, in memory.
 *
 * OpenSSL 3 looks algorithms up when they are first used, which takes longer than to use them: each
 * process of a connection would do it again.
 */
#include "helpers/tls_rehearsal.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <stdbool.h>

#include "helpers/tls_self_signed.h"

enum { ROUNDS = 8, ROOM = 64 * 1024 };

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

static void rehearse(SSL *client, SSL *server) {
        BIO *one, *other;

        if (BIO_new_bio_pair(&one, ROOM, &other, ROOM) != 1)
                return;
        SSL_set_bio(client, one, one);
        SSL_set_bio(server, other, other);
        SSL_set_connect_state(client);
        SSL_set_accept_state(server);
        if (shake_hands(client, server))
                talk(client, server);
}

void tls_rehearse(SSL_CTX *client) {
        SSL_CTX *server = SSL_CTX_new(TLS_server_method());
        SSL *ours, *theirs;

        if (server)
                tls_self_signed_use(server, "localhost");
        ours = SSL_new(client);
        theirs = server ? SSL_new(server) : NULL;
        if (ours && theirs)
                rehearse(ours, theirs);
        SSL_free(ours);
        SSL_free(theirs);
        SSL_CTX_free(server);
        ERR_clear_error();
}
