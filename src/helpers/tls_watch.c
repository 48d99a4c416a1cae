/* SPDX-License-Identifier: MIT */
/* helpers/tls_watch.c - whether the files of certificates and keys have changed.
 *
 * Who renews a certificate writes two files, one after the other: both are looked at only when
 * neither has changed for a moment.
 */
#include "helpers/tls_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATHS = 2 * TLS_CERTIFICATES_MAX, MOMENT = 2 /* seconds */ };

struct identity {
        dev_t dev;
        ino_t ino;
        off_t size;
        struct timespec changed, written;
};

static struct {
        const char *paths[PATHS];
        struct identity known[PATHS];
        size_t n;
} watched;

/* Zeros if it is not there; what is known if this user may not look. */
static struct identity identify(const char *path, const struct identity *known) {
        struct stat st;

        if (stat(path, &st) < 0)
                return errno == EACCES ? *known : (struct identity) { 0 };
        return (struct identity) { st.st_dev, st.st_ino, st.st_size, st.st_ctim, st.st_mtim };
}

static bool is_equal(const struct identity *a, const struct identity *b) {
        return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
               a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
               a->written.tv_sec == b->written.tv_sec && a->written.tv_nsec == b->written.tv_nsec;
}

void tls_watch_begin(const struct tls_options *o) {
        watched.n = 0;
        if (tls_options_is_self_signed(o))
                return;
        for (size_t i = 0; i < o->n_certificates; i++)
                watched.paths[watched.n++] = o->certificates[i];
        for (size_t i = 0; i < o->n_keys; i++)
                watched.paths[watched.n++] = o->keys[i];
        for (size_t i = 0; i < watched.n; i++)
                watched.known[i] = identify(watched.paths[i], &watched.known[i]);
}

/* A file that is away is about to be written. */
static bool is_settled(const struct identity *i) {
        return i->ino != 0 && time(NULL) - i->changed.tv_sec >= MOMENT;
}

static bool may_read_all(void) {
        for (size_t i = 0; i < watched.n; i++)
                if (faccessat(AT_FDCWD, watched.paths[i], R_OK, 0) < 0)
                        return false;
        return true;
}

enum tls_watch tls_watch_look(void) {
        struct identity now[PATHS];
        bool is_changed = false;

        for (size_t i = 0; i < watched.n; i++) {
                now[i] = identify(watched.paths[i], &watched.known[i]);
                is_changed |= !is_equal(&now[i], &watched.known[i]);
        }
        if (!is_changed)
                return TLS_WATCH_SAME;
        for (size_t i = 0; i < watched.n; i++)
                if (!is_settled(&now[i]))
                        return TLS_WATCH_SAME;
        for (size_t i = 0; i < watched.n; i++)
                watched.known[i] = now[i];
        return may_read_all() ? TLS_WATCH_NEW : TLS_WATCH_LOCKED;
}
