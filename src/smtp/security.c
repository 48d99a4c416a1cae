/* SPDX-License-Identifier: MIT */
/* smtp/security.c - parses the report of a TLS engine. */
#include "smtp/security.h"

#include <string.h>

void security_set(char *out, size_t room, const char *value, size_t n) {
        n = n < room ? n : room - 1;
        for (size_t i = 0; i < n; i++)
                out[i] = value[i] >= ' ' && value[i] <= '~' ? value[i] : '?';
        out[n] = '\0';
}

/* The value of the first string "NAME=value", and its octets; NULL if there is none that is
 * whole. */
static const char *find(const char *answer, size_t n, const char *name, size_t *ret) {
        size_t n_name = strlen(name);

        for (size_t at = 0, k; at < n && answer[at]; at += k + 1) {
                k = strnlen(answer + at, n - at);
                if (at + k == n)
                        return NULL;
                if (k > n_name && memcmp(answer + at, name, n_name) == 0 &&
                    answer[at + n_name] == '=') {
                        *ret = k - n_name - 1;
                        return answer + at + n_name + 1;
                }
        }
        return NULL;
}

static void take(char *out, size_t room, const char *answer, size_t n, const char *name) {
        size_t n_value = 0;
        const char *value = find(answer, n, name, &n_value);

        security_set(out, room, value ? value : "", n_value);
}

bool security_is_whole(const char *answer, size_t n) {
        return n > 0 && (*answer == '\0' || memmem(answer, n, "\0", 2));
}

/* An engine that does not say what it speaks speaks TLS all the same. */
void security_read(struct security *ret, const char *answer, size_t n) {
        take(ret->protocol, sizeof(ret->protocol), answer, n, "SSL_PROTOCOL");
        take(ret->cipher, sizeof(ret->cipher), answer, n, "SSL_CIPHER");
        take(ret->sni, sizeof(ret->sni), answer, n, "SSL_TLS_SNI");
        take(ret->fingerprint, sizeof(ret->fingerprint), answer, n, "SSL_CLIENT_FINGERPRINT");
        take(ret->verify, sizeof(ret->verify), answer, n, "SSL_CLIENT_VERIFY");
        if (!*ret->protocol)
                strcpy(ret->protocol, "TLS");
}

void security_read_server(struct security_server *ret, const char *answer, size_t n) {
        take(ret->names, sizeof(ret->names), answer, n, "SSL_SERVER_NAMES");
        take(ret->subject, sizeof(ret->subject), answer, n, "SSL_SERVER_S_DN");
        take(ret->fingerprint, sizeof(ret->fingerprint), answer, n, "SSL_SERVER_FINGERPRINT");
        take(ret->verify, sizeof(ret->verify), answer, n, "SSL_SERVER_VERIFY");
}

void security_read_reason(const char *answer, size_t n, char ret[static SECURITY_REASON_MAX]) {
        take(ret, SECURITY_REASON_MAX, answer, n, "TLS_ERROR");
}
