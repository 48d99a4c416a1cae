/* SPDX-License-Identifier: MIT */
/* deliver/client_login.c - AUTH toward a server: RFC 4954, with PLAIN (RFC 4616), LOGIN and XOAUTH2
 * (developers.google.com/gmail/imap/xoauth2-protocol).
 *
 * What the server says to it may repeat it, and is kept only if it does not.
 */
#include <string.h>

#include "base/text.h"
#include "deliver/client_internal.h"
#include "io/secret.h"
#include "smtp/auth.h"

enum {
        WORDS_MAX = SECRET_MAX + UPSTREAM_USER_MAX + 32,
        WIRE_MAX = WORDS_MAX / 3 * 4 + 64,
        TELLING = 40, /* octets that give it away */
};

/* RFC 4648 section 4; NUL at the end. */
static size_t encode(const char *in, size_t n, char *out) {
        static const char letters[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        char *begin = out;

        for (size_t i = 0; i < n; i += 3) {
                size_t left = n - i;
                unsigned bits = (unsigned) (unsigned char) in[i] << 16;

                bits |= left > 1 ? (unsigned) (unsigned char) in[i + 1] << 8 : 0;
                bits |= left > 2 ? (unsigned) (unsigned char) in[i + 2] : 0;
                *out++ = letters[bits >> 18];
                *out++ = letters[bits >> 12 & 63];
                *out++ = left > 1 ? letters[bits >> 6 & 63] : '=';
                *out++ = left > 2 ? letters[bits & 63] : '=';
        }
        *out = '\0';
        return (size_t) (out - begin);
}

/* A verb, and octets as base64. Not by client_say(), whose line stays in memory. */
static void say_secret(struct client *c, const char *verb, const char *octets, size_t n) {
        char line[WIRE_MAX];
        size_t length = text_format(line, sizeof(line), "%s", verb);

        length += encode(octets, n, line + length);
        memcpy(line + length, "\r\n", 2);
        client_say_octets(c, line, length + 2);
        explicit_bzero(line, sizeof(line));
}

static enum client_result get(struct client *c, struct reply *ret) {
        return client_get(c, "AUTH", ret);
}

/* --- the mechanisms: each ends with the server's last word ------------------------------------ */

static size_t format_plain(const struct client_login *l, char ret[static WORDS_MAX]) {
        return text_format(ret, WORDS_MAX, "%c%s%c%s", 0, l->user, 0, l->password);
}

static size_t format_login(const struct client_login *l, char ret[static WORDS_MAX]) {
        return text_format(ret, WORDS_MAX, "%s", l->password);
}

static size_t format_xoauth2(const struct client_login *l, char ret[static WORDS_MAX]) {
        return text_format(ret, WORDS_MAX, "user=%s\001auth=Bearer %s\001\001", l->user,
                           l->password);
}

static enum client_result say_plain(struct client *c, const struct client_login *l,
                                    struct reply *ret) {
        char octets[WORDS_MAX];
        size_t n = format_plain(l, octets);

        say_secret(c, "AUTH PLAIN ", octets, n);
        explicit_bzero(octets, sizeof(octets));
        return get(c, ret);
}

static enum client_result say_login(struct client *c, const struct client_login *l,
                                    struct reply *ret) {
        enum client_result r;

        client_say(c, "AUTH LOGIN");
        r = get(c, ret);
        if (r != CLIENT_OK || ret->code != 334)
                return r;
        say_secret(c, "", l->user, strlen(l->user));
        r = get(c, ret);
        if (r != CLIENT_OK || ret->code != 334)
                return r;
        say_secret(c, "", l->password, strlen(l->password));
        return get(c, ret);
}

/* A refusal comes as a challenge, which wants an empty answer. */
static enum client_result say_xoauth2(struct client *c, const struct client_login *l,
                                      struct reply *ret) {
        char octets[WORDS_MAX];
        size_t n = format_xoauth2(l, octets);
        enum client_result r;

        say_secret(c, "AUTH XOAUTH2 ", octets, n);
        explicit_bzero(octets, sizeof(octets));
        r = get(c, ret);
        if (r != CLIENT_OK || ret->code != 334)
                return r;
        client_say(c, "%s", "");
        return get(c, ret);
}

static const struct mechanism {
        enum upstream_auth auth;
        const char *name;
        enum client_result (*say)(struct client *c, const struct client_login *l,
                                  struct reply *ret);
        size_t (*format)(const struct client_login *l, char ret[static WORDS_MAX]);
} mechanisms[] = {
        { UPSTREAM_AUTH_PLAIN, "PLAIN", say_plain, format_plain },
        { UPSTREAM_AUTH_LOGIN, "LOGIN", say_login, format_login },
        { UPSTREAM_AUTH_XOAUTH2, "XOAUTH2", say_xoauth2, format_xoauth2 },
        { .name = NULL },
};

/* --- which one -------------------------------------------------------------------------------- */

/* The one that was configured, or the first that is offered of PLAIN and LOGIN; NULL: none. */
static const struct mechanism *choose(const struct client *c, enum upstream_auth auth) {
        for (const struct mechanism *m = mechanisms; m->name; m++) {
                bool will_do = auth == UPSTREAM_AUTH_ANY ? m->auth != UPSTREAM_AUTH_XOAUTH2
                                                         : m->auth == auth;

                if (will_do && auth_has_mechanism(c->auth, m->name, strlen(m->name)))
                        return m;
        }
        return NULL;
}

/* The password, or what it looks like on the wire, has no place in a log. */
static void hide_secret(const struct mechanism *m, const struct client_login *l,
                        struct reply *reply) {
        char octets[WORDS_MAX], wire[WIRE_MAX];
        size_t n = m->format(l, octets);

        encode(octets, n, wire);
        wire[TELLING] = '\0';
        if (strstr(reply->text, l->password) || strstr(reply->text, wire))
                text_format(reply->text, sizeof(reply->text), "(omitted: it repeats what we said)");
        explicit_bzero(octets, sizeof(octets));
        explicit_bzero(wire, sizeof(wire));
}

static enum client_result fail_without_mechanism(struct client *c) {
        char why[sizeof(c->why)];

        text_format(why, sizeof(why), "it offers no AUTH mechanism that is configured: %s",
                    *c->auth ? c->auth : "none");
        return client_fail(c, CLIENT_LOCKED_OUT, "AUTH", why);
}

enum client_result client_login(struct client *c, const struct client_login *l) {
        const struct mechanism *m = choose(c, l->auth);
        struct reply reply;
        enum client_result r;

        if (!m)
                return fail_without_mechanism(c);
        r = m->say(c, l, &reply);
        explicit_bzero(c->channel.out_buffer, sizeof(c->channel.out_buffer));
        if (r != CLIENT_OK || reply.code == 235)
                return r;
        hide_secret(m, l, &reply);
        if (reply.code / 100 == 4)
                return client_refuse(c, CLIENT_REFUSED, "AUTH", &reply);
        return client_refuse(c, CLIENT_LOCKED_OUT, "AUTH", &reply);
}
