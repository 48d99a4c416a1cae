/* SPDX-License-Identifier: MIT */
/* config/upstream.c - the options of TLS and AUTH toward upstreams: their values and conflicts. */
#include "config/upstream.h"

#include <string.h>

#include "base/array.h"
#include "io/endpoint.h"

enum { PINS_MAX = 8 /* that smtpd-tls takes */, PIN_DIGITS = 64 };

/* --- values ----------------------------------------------------------------------------------- */

static const char *const modes[] = {
        [UPSTREAM_TLS_NO] = "no",
        [UPSTREAM_TLS_OPPORTUNISTIC] = "opportunistic",
        [UPSTREAM_TLS_REQUIRED] = "required",
        [UPSTREAM_TLS_IMPLICIT] = "implicit",
};

static const char *const mechanisms[] = {
        [UPSTREAM_AUTH_ANY] = NULL,
        [UPSTREAM_AUTH_PLAIN] = "plain",
        [UPSTREAM_AUTH_LOGIN] = "login",
        [UPSTREAM_AUTH_XOAUTH2] = "xoauth2",
};

/* Which of the words it is; n: none of them. */
static unsigned find_word(const char *const *words, unsigned n, const char *value) {
        unsigned i = 0;

        while (i < n && (!words[i] || strcmp(words[i], value) != 0))
                i++;
        return i;
}

static bool parse_mode(const struct option *o, const char *value, void *field) {
        unsigned i = find_word(modes, ELEMENTS(modes), value);

        (void) o;
        *(enum upstream_tls *) field = i < ELEMENTS(modes) ? i : UPSTREAM_TLS_NO;
        return i < ELEMENTS(modes);
}

static void print_mode(const void *field, FILE *out) {
        fputs(modes[*(const enum upstream_tls *) field], out);
}

static bool parse_mechanism(const struct option *o, const char *value, void *field) {
        unsigned i = find_word(mechanisms, ELEMENTS(mechanisms), value);

        (void) o;
        *(enum upstream_auth *) field = i < ELEMENTS(mechanisms) ? i : UPSTREAM_AUTH_ANY;
        return i < ELEMENTS(mechanisms);
}

static void print_mechanism(const void *field, FILE *out) {
        fputs(mechanisms[*(const enum upstream_auth *) field], out);
}

static bool is_mechanism_set(const void *field) {
        return *(const enum upstream_auth *) field != UPSTREAM_AUTH_ANY;
}

/* Of a certificate: its SHA-256, with or without colons between the digits. */
static bool is_pin(const char *s) {
        static const char prefix[] = "sha256:";
        size_t n = 0;

        if (strncmp(s, prefix, sizeof(prefix) - 1) != 0)
                return false;
        for (s += sizeof(prefix) - 1; *s; s++)
                if (strchr("0123456789abcdefABCDEF", *s))
                        n++;
                else if (*s != ':')
                        return false;
        return n == PIN_DIGITS;
}

static bool is_verify(const char *s) {
        return strcmp(s, "ca") == 0 || strcmp(s, "no") == 0 || is_pin(s);
}

static bool parse_verify(const struct option *o, const char *value, void *field) {
        (void) o;
        return value_parse_list(value, field, is_verify);
}

/* What goes into AUTH has no NUL, and a line of a configuration has none either. */
static bool parse_text(const struct option *o, const char *value, void *field) {
        (void) o;
        return *value && strlen(value) <= UPSTREAM_USER_MAX && value_set_pointer(field, value);
}

const struct kind value_upstream_tls = { parse_mode, print_mode,
                                         .expected = "no, opportunistic, required or implicit" };
const struct kind value_upstream_auth = { parse_mechanism, print_mechanism, is_mechanism_set,
                                          .expected = "plain, login or xoauth2" };
const struct kind value_upstream_verify = {
        parse_verify,
        value_print_list,
        value_is_list_set,
        value_clear_list,
        .expected = "ca, no, or sha256: and the 64 hexadecimal digits of a certificate",
        .is_list = true,
};
const struct kind value_upstream_user = {
        parse_text,
        value_print_pointer,
        value_is_pointer_set,
        value_clear_pointer,
        .expected = "the name of an account, of at most 255 octets",
};
const struct kind value_upstream_name = {
        parse_text,
        value_print_pointer,
        value_is_pointer_set,
        value_clear_pointer,
        .expected = "the name or address that is in the upstream's certificate",
};

/* --- all together ----------------------------------------------------------------------------- */

bool config_upstream_is_verified(const struct config *c) {
        if (c->upstream_tls_verify.n == 0)
                return c->upstream_tls > UPSTREAM_TLS_OPPORTUNISTIC;
        return strcmp(c->upstream_tls_verify.items[0], "ca") == 0;
}

const char *config_upstream_ca(const struct config *c) {
        return c->upstream_tls_ca ? c->upstream_tls_ca : UPSTREAM_CA_DEFAULT;
}

/* These are of no use alone. */
static void check_company(struct reading *r) {
        const struct config *c = r->config;
        const struct {
                const char *name;
                bool is_set;
                const char *other;
                bool is_other_set;
        } pairs[] = {
                { "upstream-tls", c->upstream_tls != UPSTREAM_TLS_NO, "upstream=HOST[:PORT]",
                  c->upstream.n > 0 },
                { "upstream-user", c->upstream_user, "upstream=HOST[:PORT]", c->upstream.n > 0 },
                { "upstream-tls-verify", c->upstream_tls_verify.n > 0,
                  "upstream-tls=required, implicit or opportunistic",
                  c->upstream_tls != UPSTREAM_TLS_NO },
                { "upstream-tls-ca", c->upstream_tls_ca, "upstream-tls-verify=ca",
                  c->upstream_tls != UPSTREAM_TLS_NO && config_upstream_is_verified(c) },
                { "upstream-tls-name", c->upstream_tls_name, "upstream-tls-verify=ca",
                  c->upstream_tls != UPSTREAM_TLS_NO && config_upstream_is_verified(c) },
                { "upstream-user", c->upstream_user, "upstream-password=FILE",
                  c->upstream_password },
                { "upstream-password", c->upstream_password, "upstream-user=NAME",
                  c->upstream_user },
                { "upstream-auth", c->upstream_auth != UPSTREAM_AUTH_ANY, "upstream-user=NAME",
                  c->upstream_user },
        };

        for (size_t i = 0; i < ELEMENTS(pairs); i++)
                if (pairs[i].is_set && !pairs[i].is_other_set)
                        read_complain(r, read_place(r, pairs[i].name), "%s needs %s", pairs[i].name,
                                      pairs[i].other);
}

static void check_verify(struct reading *r) {
        const struct config *c = r->config;
        const struct list *verify = &c->upstream_tls_verify;
        size_t n_words = 0;

        for (size_t i = 0; i < verify->n; i++)
                n_words += !is_pin(verify->items[i]);
        if (n_words > 0 && verify->n > 1)
                read_complain(r, read_place(r, "upstream-tls-verify"),
                              "upstream-tls-verify: ca and no must be the only value; only sha256: "
                              "can be given several times");
        if (verify->n > PINS_MAX)
                read_complain(r, read_place(r, "upstream-tls-verify"),
                              "upstream-tls-verify: %zu certificates, but at most %d are possible",
                              verify->n, PINS_MAX);
        if (c->upstream_tls == UPSTREAM_TLS_NO || !config_upstream_is_verified(c) ||
            c->upstream_tls_name)
                return;
        for (size_t i = 0; i < c->upstream.n; i++)
                if (*c->upstream.items[i] == '/')
                        read_complain(r, read_place(r, "upstream"),
                                      "upstream=%.200s: a socket has no name to verify the "
                                      "certificate against: add upstream-tls-name=NAME",
                                      c->upstream.items[i]);
}

/* A password goes nowhere in clear. */
static void check_password(struct reading *r) {
        const struct config *c = r->config;

        if (c->upstream_user && c->xclient)
                read_complain(r, read_place(r, "xclient"),
                              "xclient makes no sense with upstream-user: we log in, not our "
                              "client; remove one of the two");
        if (!c->upstream_user || c->upstream_tls > UPSTREAM_TLS_OPPORTUNISTIC)
                return;
        for (size_t i = 0; i < c->upstream.n; i++)
                if (!endpoint_is_here(c->upstream.items[i]))
                        read_complain(r, read_place(r, "upstream-user"),
                                      "upstream-user: the password would be sent to %.200s in "
                                      "plain text: choose upstream-tls=required or implicit",
                                      c->upstream.items[i]);
}

void upstream_settle(struct reading *r) {
        struct config *c = r->config;

        if (r->is_incomplete)
                return;
        if (c->upstream_password)
                tls_complete(r, "upstream-password", &c->upstream_password);
        check_company(r);
        check_verify(r);
        check_password(r);
}
