/* config/tls_arguments.c - the arguments of smtpd-tls(8). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"
#include "io/endpoint.h"

enum { FIXED = 9 }; /* the name, those that are no files, and NULL */

struct arguments {
        char **items;
        size_t n;
        bool is_short; /* memory was out */
};

__attribute__((format(printf, 2, 3))) static void add(struct arguments *a, const char *format, ...) {
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

/* Whom the certificate of an upstream has to be for. */
static void add_name(struct arguments *a, const struct config *c, const char *upstream) {
        struct endpoint e;

        if (c->upstream_tls_name)
                add(a, "--name=%s", c->upstream_tls_name);
        else if (*upstream != '/' && endpoint_split(upstream, "0", &e))
                add(a, "--name=%s", e.host);
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

        if (!a.items)
                return NULL;
        add(&a, "smtpd-tls");
        add(&a, "--connect");
        add_name(&a, c, upstream);
        if (trust == UPSTREAM_TO_TRUST)
                add_verify(&a, c);
        if (trust == UPSTREAM_TO_LOOK || config_upstream_is_verified(c))
                add(&a, "--ca=%s", config_upstream_ca(c));
        return finish(&a);
}

void config_tls_free(char **arguments) {
        for (char **p = arguments; *p; p++)
                free(*p);
        free(arguments);
}
