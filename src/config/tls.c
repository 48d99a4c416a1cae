/* SPDX-License-Identifier: MIT */
/* config/tls.c - the options of TLS toward clients: their values, and what does not go together. */
#include "config/tls.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "io/inherited.h"

enum { CERTIFICATES_MAX = 4 }; /* that smtpd-tls takes */

/* --- values ----------------------------------------------------------------------------------- */

static const char *const modes[] = {
        [TLS_UNSET] = NULL,          [TLS_NO] = "no",
        [TLS_STARTTLS] = "starttls", [TLS_REQUIRED] = "required",
        [TLS_IMPLICIT] = "implicit",
};

const char *config_tls_word(enum tls_mode mode) {
        return modes[mode];
}

static bool parse_mode(const struct option *o, const char *value, void *field) {
        enum tls_mode mode = ELEMENTS(modes) - 1;

        (void) o;
        while (mode > TLS_UNSET && strcmp(modes[mode], value) != 0)
                mode--;
        return (*(enum tls_mode *) field = mode) != TLS_UNSET;
}

static void print_mode(const void *field, FILE *out) {
        fputs(modes[*(const enum tls_mode *) field], out);
}

static bool is_mode_set(const void *field) {
        return *(const enum tls_mode *) field != TLS_UNSET;
}

static bool parse_client(const struct option *o, const char *value, void *field) {
        (void) o;
        return value_parse_word(value, "ask", "no", field);
}

static void print_client(const void *field, FILE *out) {
        fputs(*(const bool *) field ? "ask" : "no", out);
}

static bool parse_minimum(const struct option *o, const char *value, void *field) {
        (void) o;
        return value_parse_word(value, "1.3", "1.2", field);
}

static void print_minimum(const void *field, FILE *out) {
        fputs(*(const bool *) field ? "1.3" : "1.2", out);
}

/* /FILE, or the name of a credential. */
static bool is_file(const char *s) {
        if (*s == '/')
                return true;
        return *s && !strchr(s, '/') && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static bool is_key(const char *s) {
        return is_file(s) && strcmp(s, TLS_SELF_SIGNED) != 0;
}

static bool parse_certificates(const struct option *o, const char *value, void *field) {
        (void) o;
        return value_parse_list(value, field, is_file);
}

static bool parse_keys(const struct option *o, const char *value, void *field) {
        (void) o;
        return value_parse_list(value, field, is_key);
}

static bool parse_file(const struct option *o, const char *value, void *field) {
        (void) o;
        return is_key(value) && value_set_pointer(field, value);
}

#define A_FILE                                                                                     \
        "the path of a file, which begins with /, or the name of one in $CREDENTIALS_DIRECTORY"

const struct kind value_tls = { parse_mode, print_mode, is_mode_set,
                                .expected = "no, starttls, required or implicit" };
const struct kind value_tls_client = { parse_client, print_client, .expected = "no or ask" };
const struct kind value_tls_minimum = { parse_minimum, print_minimum, .expected = "1.2 or 1.3" };
const struct kind value_tls_certificates = {
        parse_certificates,
        value_print_list,
        value_is_list_set,
        value_clear_list,
        .expected = A_FILE ", or " TLS_SELF_SIGNED,
        .is_list = true,
};
const struct kind value_tls_keys = {
        parse_keys,       value_print_list,   value_is_list_set,
        value_clear_list, .expected = A_FILE, .is_list = true,
};
const struct kind value_tls_file = {
        parse_file,          value_print_pointer, value_is_pointer_set,
        value_clear_pointer, .expected = A_FILE,
};

/* --- all together ----------------------------------------------------------------------------- */

void tls_complete(struct reading *r, const char *option, char **name) {
        const char *directory = getenv("CREDENTIALS_DIRECTORY");
        size_t room;
        char *path;

        if (**name == '/' || strcmp(*name, TLS_SELF_SIGNED) == 0)
                return;
        if (!directory && r->config->action == ACTION_SERVE)
                read_complain(r, read_place(r, option),
                              "%s=%.200s: there are no credentials here ($CREDENTIALS_DIRECTORY is "
                              "not set): use the path of a file, or LoadCredential=%.200s:FILE in "
                              "the unit",
                              option, *name, *name);
        if (!directory)
                return;
        room = strlen(directory) + strlen(*name) + 2;
        path = malloc(room);
        if (!path) {
                read_complain(r, read_place(r, option), "%s: out of memory", option);
                return;
        }
        text_format(path, room, "%s/%s", directory, *name);
        free(*name);
        *name = path;
}

static void complete_files(struct reading *r) {
        struct config *c = r->config;

        for (size_t i = 0; i < c->tls_certificate.n; i++)
                tls_complete(r, "tls-certificate", c->tls_certificate.items + i);
        for (size_t i = 0; i < c->tls_key.n; i++)
                tls_complete(r, "tls-key", c->tls_key.items + i);
        if (c->tls_client_ca)
                tls_complete(r, "tls-client-ca", &c->tls_client_ca);
}

/* Who has the key decides these. */
static void check_engine(struct reading *r) {
        const struct config *c = r->config;
        const struct {
                const char *name;
                bool is_set;
        } of_certificate[] = {
                { "tls-key", c->tls_key.n > 0 }, { "tls-user", *c->tls_user },
                { "tls-client", c->tls_client }, { "tls-client-ca", c->tls_client_ca },
                { "tls-minimum", c->tls_is_13 },
        };

        if (c->tls_engine && c->tls_certificate.n > 0)
                read_complain(r, read_place(r, "tls-engine"),
                              "tls-engine makes no sense with tls-certificate: the engine has a "
                              "certificate of its own; remove one of the two");
        for (size_t i = 0; c->tls_certificate.n == 0 && i < ELEMENTS(of_certificate); i++)
                if (of_certificate[i].is_set)
                        read_complain(r, read_place(r, of_certificate[i].name), "%s %s",
                                      of_certificate[i].name,
                                      c->tls_engine ? "makes no sense with tls-engine: it is an "
                                                      "option of the engine, smtpd-tls(8)"
                                                    : "makes no sense without tls-certificate");
}

static void check_files(struct reading *r) {
        const struct config *c = r->config;
        struct place of_key = read_place(r, "tls-key");

        if (c->tls_certificate.n > CERTIFICATES_MAX)
                read_complain(r, read_place(r, "tls-certificate"),
                              "tls-certificate: %zu certificates, but at most %d are possible: one "
                              "for each kind of key",
                              c->tls_certificate.n, CERTIFICATES_MAX);
        if (config_is_self_signed(c) && c->tls_certificate.n > 1)
                read_complain(r, read_place(r, "tls-certificate"),
                              "tls-certificate=" TLS_SELF_SIGNED
                              ": it must be the only certificate");
        if (config_is_self_signed(c) && c->tls_key.n > 0)
                read_complain(r, of_key,
                              "tls-key makes no sense with tls-certificate=" TLS_SELF_SIGNED
                              ", which has a key of its own");
        else if (c->tls_certificate.n > 0 && c->tls_key.n > c->tls_certificate.n)
                read_complain(r, of_key,
                              "tls-key: there are %zu keys and %zu certificate%s: give "
                              "each certificate its key, in the same order",
                              c->tls_key.n, c->tls_certificate.n,
                              text_plural(c->tls_certificate.n));
        if (c->tls_client_ca && !c->tls_client)
                read_complain(r, read_place(r, "tls-client-ca"),
                              "tls-client-ca makes no sense without tls-client=ask");
}

static bool has_engine(const struct config *c) {
        return c->tls_certificate.n > 0 || c->tls_engine;
}

static void check_mode(struct reading *r) {
        const struct config *c = r->config;
        bool is_passed = getenv(INHERITED_TLS) || getenv(INHERITED_UCSPI_CONTROL);

        if (c->tls > TLS_NO && !has_engine(c) && !is_passed)
                read_complain(r, read_place(r, "tls"),
                              "tls=%s needs tls-certificate=FILE (for developers: "
                              "tls-certificate=" TLS_SELF_SIGNED ") or tls-engine=/SOCKET",
                              modes[c->tls]);
        if (c->listen_tls.n > 0 && !has_engine(c))
                read_complain(r, read_place(r, "listen-tls"),
                              "listen-tls needs tls-certificate=FILE (for developers: "
                              "tls-certificate=" TLS_SELF_SIGNED ") or tls-engine=/SOCKET");
}

static void check_balancer(struct reading *r) {
        if (r->config->proxy_tls && r->config->proxy_from.n == 0)
                read_complain(r, read_place(r, "proxy-tls"),
                              "proxy-tls makes no sense without proxy-from=ADDRESS, the balancer");
}

void tls_settle(struct reading *r) {
        struct config *c = r->config;

        if (!r->is_incomplete) {
                complete_files(r);
                check_engine(r);
                check_files(r);
                check_mode(r);
                check_balancer(r);
        }
        if (c->tls == TLS_UNSET)
                c->tls = has_engine(c) || getenv(INHERITED_UCSPI_CONTROL) ? TLS_STARTTLS : TLS_NO;
}
