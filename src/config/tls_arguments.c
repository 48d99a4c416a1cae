/* SPDX-License-Identifier: MIT */
/* config/tls_arguments.c - the arguments of smtpd-tls(8). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "config/config.h"
#include "io/endpoint.h"

enum { FIXED = 9 }; /* the name, those that are no files, and NULL */

struct arguments {
        char **items;
        size_t n;
        bool is_short; /* memory was out */
};

__attribute__((format(printf, 2, 3))) static void add(struct arguments *a, const char *format,
                                                      ...) {
        va_list ap;

        va_start(ap, format);
        if (vasprintf(a->items + a->n, format, ap) >= 0)
                a->n++;
        else {
                a->items[a->n] = NULL;
                a->is_short = true;
        }
        va_end(ap);
}

/* A certificate may have its key in the same file. */
static void add_files(struct arguments *a, const struct config *c) {
        const struct list *certificates = &c->tls_certificate, *keys = &c->tls_key;

        for (size_t i = 0; i < certificates->n; i++)
                add(a, "--certificate=%s", certificates->items[i]);
        for (size_t i = 0; i < certificates->n && !config_is_self_signed(c); i++)
                add(a, "--key=%s", i < keys->n ? keys->items[i] : certificates->items[i]);
}

static char **finish(struct arguments *a) {
        if (!a->is_short)
                return a->items;
        config_tls_free(a->items);
        return NULL;
}

char **config_tls_arguments(const struct config *c, enum tls_task task, const char *user) {
        struct arguments a = { .items = calloc(2 * c->tls_certificate.n + FIXED, sizeof(char *)) };

        if (!a.items)
                return NULL;
        add(&a, "smtpd-tls");
        add_files(&a, c);
        add(&a, "--minimum=%s", c->tls_is_13 ? "1.3" : "1.2");
        add(&a, "--client=%s", c->tls_client ? "ask" : "no");
        if (c->tls_client_ca)
                add(&a, "--client-ca=%s", c->tls_client_ca);
        add(&a, "--hostname=%s", c->hostname);
        add(&a, "--timeout=%llu", (unsigned long long) c->timeout);
        if (user)
                add(&a, "--user=%s", user);
        if (task != TLS_TASK_CONNECTION)
                add(&a, "%s", task == TLS_TASK_SERVE ? "--serve" : "--check");
        return finish(&a);
}

/* Whom the certificate of an upstream has to be for; "" if it has no name. */
static const char *name_of(const struct config *c, const char *upstream, struct endpoint *room) {
        if (c->upstream_tls_name)
                return c->upstream_tls_name;
        return *upstream != '/' && endpoint_split(upstream, "0", room) ? room->host : "";
}

static void add_verify(struct arguments *a, const struct config *c) {
        const struct list *verify = &c->upstream_tls_verify;

        for (size_t i = 0; i < verify->n; i++)
                add(a, "--verify=%s", verify->items[i]);
        if (verify->n == 0)
                add(a, "--verify=%s", config_upstream_is_verified(c) ? "ca" : "no");
}

char **config_upstream_arguments(const struct config *c, const char *upstream,
                                 enum upstream_trust trust) {
        struct arguments a = { .items = calloc(c->upstream_tls_verify.n + FIXED, sizeof(char *)) };
        struct endpoint room;
        const char *name = name_of(c, upstream, &room);

        if (!a.items)
                return NULL;
        add(&a, "smtpd-tls");
        add(&a, "--connect");
        if (*name)
                add(&a, "--name=%s", name);
        if (trust == UPSTREAM_TO_TRUST)
                add_verify(&a, c);
        if (trust == UPSTREAM_TO_LOOK || config_upstream_is_verified(c))
                add(&a, "--ca=%s", config_upstream_ca(c));
        return finish(&a);
}

char **config_upstreams_arguments(const struct config *c, const char *user) {
        struct arguments a = { .items = calloc(FIXED, sizeof(char *)) };

        if (!a.items)
                return NULL;
        add(&a, "smtpd-tls");
        add(&a, "--connect");
        add(&a, "--serve");
        if (config_upstream_is_verified(c))
                add(&a, "--ca=%s", config_upstream_ca(c));
        if (user)
                add(&a, "--user=%s", user);
        return finish(&a);
}

size_t config_upstream_request(const struct config *c, const char *upstream, char *ret,
                               size_t room) {
        const struct list *verify = &c->upstream_tls_verify;
        const char *usual = config_upstream_is_verified(c) ? "ca" : "no", *name;
        struct endpoint split;
        size_t n = text_format(ret, room, "C%cVERIFY=%s", 0, verify->n > 0 ? "" : usual);

        for (size_t i = 0; i < verify->n; i++)
                n += text_format(ret + n, room - n, "%s%s", i > 0 ? "," : "", verify->items[i]);
        name = name_of(c, upstream, &split);
        if (*name)
                n += text_format(ret + n, room - n, "%cNAME=%s", 0, name);
        return n + 1 < room ? n + 1 : 0;
}

void config_tls_free(char **arguments) {
        for (char **p = arguments; *p; p++)
                free(*p);
        free(arguments);
}
