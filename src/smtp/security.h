/* SPDX-License-Identifier: MIT */
/* smtp/security.h - what is known about a session's TLS, as reported by its engine.
 *
 * Pure. An engine reports once, after the handshake: "NAME=value" strings, each followed by a NUL,
 * and one more NUL. The names are those of Apache's mod_ssl, as in UCSPI-TLS. The client chooses
 * some of the values (the server's name, its certificate); they are turned into printable ASCII.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
        SECURITY_ANSWER_MAX = 4096, /* octets of all of it */
        SECURITY_REASON_MAX = 200,
};

/* "" where there is nothing to say: all of them outside TLS. */
struct security {
        char protocol[16];    /* TLSv1.3 */
        char cipher[64];      /* TLS_AES_256_GCM_SHA384 */
        char sni[256];        /* whom the client asked for */
        char fingerprint[65]; /* of the client's certificate: SHA-256, in hexadecimal */
        char verify[128];     /* whether it is trusted: NONE, SUCCESS, FAILED:reason */
        bool is_at_balancer;  /* it ends there, and a balancer says so: smtp/proxy_header.h */
};

/* The same about a server that we speak TLS with. */
struct security_server {
        char names[256]; /* its certificate is for these */
        char subject[128];
        char fingerprint[65];
        /* whether its issuer is known and the name right: SUCCESS, FAILED:reason */
        char verify[128];
};

/* Whether TLS is spoken. */
static inline bool security_is_on(const struct security *s) {
        return *s->protocol != '\0';
}

/* Whether the answer is complete. */
bool security_is_whole(const char *answer, size_t n);

/* Sets a field to a received value, truncated to the room, with a NUL. */
void security_set(char *out, size_t room, const char *value, size_t n);

/* Reads a complete answer. */
void security_read(struct security *ret, const char *answer, size_t n);

/* The same of the server's certificate; also of an answer that broke off. */
void security_read_server(struct security_server *ret, const char *answer, size_t n);

/* Why there is no TLS, if an answer that broke off says so; or "". */
void security_read_reason(const char *answer, size_t n, char ret[static SECURITY_REASON_MAX]);
