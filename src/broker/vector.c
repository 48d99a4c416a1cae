/* SPDX-License-Identifier: MIT */
/* broker/vector.c - the environment of a program. */
#include "broker/vector.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/text.h"
#include "broker/executable.h"

/* Variables that say something about us, or about a TLS engine that started us, and would be wrong
 * for a program of ours. */
static const char *const not_inherited[] = {
        "LISTEN_FDS=",   "LISTEN_PID=",    "LISTEN_FDNAMES=", "NOTIFY_SOCKET=",
        "WATCHDOG_PID=", "WATCHDOG_USEC=", "SMTPD_",          "SSL_",
        "SSLCTLFD=",     "SSLREADFD=",     "SSLWRITEFD="
};

/* These are OpenSSL's own: whom a program trusts. */
static const char *const inherited[] = { "SSL_CERT_FILE=", "SSL_CERT_DIR=" };

/* What the session cannot be wrong about, because it is not asked. */
static struct {
        char peer[sizeof("SMTPD_PEER=") + sizeof(((struct peer *) NULL)->address)];
        char port[sizeof("SMTPD_PEER_PORT=") + sizeof(((struct peer *) NULL)->port)];
        char hostname[sizeof("SMTPD_HOSTNAME=") + HOSTNAME_MAX + 1];
} own;

static bool has_prefix(const char *variable, const char *const *prefixes, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
                        return true;
        return false;
}

static bool is_inherited(const char *variable) {
        return has_prefix(variable, inherited, ELEMENTS(inherited)) ||
               !has_prefix(variable, not_inherited, ELEMENTS(not_inherited));
}

static void set_own(const struct services *s) {
        text_format(own.peer, sizeof(own.peer), "SMTPD_PEER=%s", s->peer->address);
        text_format(own.port, sizeof(own.port), "SMTPD_PEER_PORT=%s", s->peer->port);
        text_format(own.hostname, sizeof(own.hostname), "SMTPD_HOSTNAME=%s", s->hostname);
}

char **vector_new(const struct services *s) {
        static char path[] = "PATH=" EXECUTABLE_DEFAULT_PATH;
        char *const more[] = { own.peer, own.port, own.hostname };
        size_t n = REQUEST_VARIABLES + ELEMENTS(more) + 2; /* PATH, and NULL */
        char **vector;

        set_own(s);
        for (char **p = environ; *p; p++)
                n++;
        vector = calloc(n, sizeof(*vector));
        if (!vector)
                return NULL;
        n = REQUEST_VARIABLES;
        for (size_t i = 0; i < ELEMENTS(more); i++)
                vector[n++] = more[i];
        for (char **p = environ; *p; p++)
                if (is_inherited(*p))
                        vector[n++] = *p;
        if (!getenv("PATH"))
                vector[n] = path;
        return vector;
}

void vector_set(char **vector, char *variables) {
        for (size_t i = 0; i < REQUEST_VARIABLES; i++) {
                vector[i] = variables;
                variables += strlen(variables) + 1;
        }
}
