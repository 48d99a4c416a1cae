/* SPDX-License-Identifier: MIT */
/* helpers/tls_socket.c - the socket below TLS. */
#include "helpers/tls_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/ascii.h"

struct tls_socket {
        int fd;
        int first; /* octet that came, or EOF */
        bool is_ended;
};

static bool is_for_later(int error) {
        return error == EAGAIN || error == EINTR;
}

static int read_some(BIO *bio, char *data, int room) {
        struct tls_socket *s = BIO_get_data(bio);
        ssize_t k = recv(s->fd, data, (size_t) room, MSG_DONTWAIT);

        BIO_clear_retry_flags(bio);
        if (k < 0 && is_for_later(errno))
                BIO_set_retry_read(bio);
        s->is_ended = k == 0;
        if (k > 0 && s->first == EOF)
                s->first = (unsigned char) *data;
        return (int) k;
}

static int write_some(BIO *bio, const char *data, int n) {
        struct tls_socket *s = BIO_get_data(bio);
        ssize_t k = send(s->fd, data, (size_t) n, MSG_DONTWAIT | MSG_NOSIGNAL);

        BIO_clear_retry_flags(bio);
        if (k < 0 && is_for_later(errno))
                BIO_set_retry_write(bio);
        return (int) k;
}

static long control(BIO *bio, int command, long number, void *pointer) {
        const struct tls_socket *s = BIO_get_data(bio);

        (void) number;
        (void) pointer;
        if (command == BIO_CTRL_EOF)
                return s->is_ended;
        return command == BIO_CTRL_FLUSH; /* there is nothing to flush */
}

static int destroy(BIO *bio) {
        free(BIO_get_data(bio));
        return 1;
}

static BIO_METHOD *make_method(void) {
        BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");

        if (m && BIO_meth_set_read(m, read_some) && BIO_meth_set_write(m, write_some) &&
            BIO_meth_set_ctrl(m, control) && BIO_meth_set_destroy(m, destroy))
                return m;
        BIO_meth_free(m);
        return NULL;
}

BIO *tls_socket_new(int fd) {
        static BIO_METHOD *method;
        struct tls_socket *s = malloc(sizeof(*s));
        BIO *bio;

        if (!method)
                method = make_method();
        bio = method && s ? BIO_new(method) : NULL;
        if (!bio) {
                free(s);
                return NULL;
        }
        *s = (struct tls_socket) { .fd = fd, .first = EOF };
        BIO_set_data(bio, s);
        BIO_set_init(bio, 1);
        return bio;
}

bool tls_socket_is_text(BIO *bio) {
        const struct tls_socket *s = BIO_get_data(bio);

        return s->first == '\r' || s->first == '\n' || (s->first >= ' ' && s->first <= '~');
}
