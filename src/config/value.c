/* SPDX-License-Identifier: MIT */
/* config/value.c - numbers, words, names and addresses. */
#include "config/value.h"

#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "config/options.h"
#include "io/connect.h"
#include "io/endpoint.h"

/* --- numbers ---------------------------------------------------------------------------------- */

static bool is_in_range(const struct option *o, uint64_t value) {
        return value >= o->min && value <= o->max;
}

static bool parse_number(const struct option *o, const char *value, void *field) {
        return ascii_parse_number(value, o->max, field) && is_in_range(o, *(uint64_t *) field);
}

static void print_number(const void *field, FILE *out) {
        fprintf(out, "%llu", (unsigned long long) *(const uint64_t *) field);
}

/* "never", or what else stands for no number in --help and --check. */
static bool parse_optional_number(const struct option *o, const char *value, void *field) {
        if (!o->fallback || strcmp(value, o->fallback) != 0)
                return parse_number(o, value, field);
        *(uint64_t *) field = 0;
        return true;
}

static bool is_number_set(const void *field) {
        return *(const uint64_t *) field > 0;
}

static bool parse_size(const struct option *o, const char *value, void *field) {
        static const char units[] = "KMG";
        uint64_t *size = field;
        const char *end = ascii_read_number(value, size), *unit;

        if (end == value || *size == UINT64_MAX)
                return false;
        if (*end && (unit = strchr(units, *end & ~0x20))) {
                unsigned shift = (unsigned) (10 * (unit - units + 1));

                if (*size > UINT64_MAX >> shift)
                        return false;
                *size <<= shift;
                end++;
        }
        return *end == '\0' && is_in_range(o, *size);
}

const struct kind value_number = { parse_number, print_number, .expected = "a number" };
const struct kind value_optional_number = { parse_optional_number, print_number, is_number_set,
                                            .expected = "a number" };
const struct kind value_seconds = { parse_number, print_number, .expected = "a number of seconds" };
const struct kind value_optional_seconds = { parse_optional_number, print_number, is_number_set,
                                             .expected = "a number of seconds" };
const struct kind value_size = {
        parse_size, print_number,
        .expected = "a number of octets, or of K, M or G, such as 32M; 0 means no limit"
};

/* --- one of two words ------------------------------------------------------------------------- */

bool value_parse_word(const char *value, const char *yes, const char *no, bool *ret) {
        *ret = strcmp(value, yes) == 0;
        return *ret || strcmp(value, no) == 0;
}

static bool parse_yes_no(const struct option *o, const char *value, void *field) {
        (void) o;
        return value_parse_word(value, "yes", "no", field);
}

static void print_yes_no(const void *field, FILE *out) {
        fputs(*(const bool *) field ? "yes" : "no", out);
}

static bool parse_protocol(const struct option *o, const char *value, void *field) {
        (void) o;
        return value_parse_word(value, "lmtp", "smtp", field);
}

static void print_protocol(const void *field, FILE *out) {
        fputs(*(const bool *) field ? "lmtp" : "smtp", out);
}

const struct kind value_yes_no = { parse_yes_no, print_yes_no, .expected = "yes or no" };
const struct kind value_protocol = { parse_protocol, print_protocol, .expected = "smtp or lmtp" };

/* --- texts in the field ----------------------------------------------------------------------- */

static bool parse_hostname(const struct option *o, const char *value, void *field) {
        static const char others[] = "-._:[]"; /* an address literal will do */
        size_t n = strlen(value);

        (void) o;
        for (const char *p = value; *p; p++)
                if (!ascii_is_alnum(*p) && !strchr(others, *p))
                        return false;
        if (n == 0 || n > HOSTNAME_MAX || *value == '.' || strstr(value, ".."))
                return false;
        memcpy(field, value, n + 1);
        return true;
}

static void print_text(const void *field, FILE *out) {
        fputs(field, out);
}

/* Of digits only, it is a number. */
static bool parse_user(const struct option *o, const char *value, void *field) {
        size_t n = strlen(value), n_digits = 0;
        uint64_t number;

        (void) o;
        for (const char *p = value; *p; p++) {
                if (strchr(" \t:/\"'", *p))
                        return false;
                n_digits += ascii_is_digit(*p);
        }
        if (n == 0 || n > USER_MAX ||
            (n_digits == n && !ascii_parse_number(value, USER_NUMBER_MAX, &number)))
                return false;
        memcpy(field, value, n + 1);
        return true;
}

static bool is_text_set(const void *field) {
        return *(const char *) field != '\0';
}

static bool parse_peer(const struct option *o, const char *value, void *field) {
        (void) o;
        return peer_parse(value, field);
}

static void print_peer(const void *field, FILE *out) {
        char text[PEER_TEXT_MAX + 1];

        peer_format(field, text);
        fputs(text, out);
}

static bool is_peer_set(const void *field) {
        return *((const struct peer *) field)->address != '\0';
}

const struct kind value_hostname = { parse_hostname, print_text, .expected = "a host name" };
const struct kind value_user = { parse_user, print_text, is_text_set,
                                 .expected = "the name or number of a user" };
const struct kind value_peer = {
        parse_peer, print_peer, is_peer_set,
        .expected = "ADDRESS, IPV4:PORT or [IPV6]:PORT, with a PORT from 1 to 65535"
};

/* --- texts of their own ----------------------------------------------------------------------- */

void value_clear_pointer(void *field) {
        free(*(char **) field);
        *(char **) field = NULL;
}

bool value_set_pointer(char **field, const char *value) {
        free(*field);
        *field = strdup(value);
        return *field != NULL;
}

void value_print_pointer(const void *field, FILE *out) {
        fputs(*(const char *const *) field, out);
}

bool value_is_pointer_set(const void *field) {
        return *(const char *const *) field != NULL;
}

static bool parse_endpoint(const struct option *o, const char *value, void *field) {
        (void) o;
        return connect_is_endpoint(value) && value_set_pointer(field, value);
}

static bool parse_local_socket(const struct option *o, const char *value, void *field) {
        struct sockaddr_un address;

        (void) o;
        return *value == '/' && endpoint_local(value, &address) && value_set_pointer(field, value);
}

static bool parse_path(const struct option *o, const char *value, void *field) {
        (void) o;
        return *value == '/' && value_set_pointer(field, value);
}

static bool parse_any_path(const struct option *o, const char *value, void *field) {
        (void) o;
        return *value && value_set_pointer(field, value);
}

const struct kind value_endpoint = {
        parse_endpoint, value_print_pointer, value_is_pointer_set, value_clear_pointer,
        .expected = "HOST[:PORT], [IPV6]:PORT or /SOCKET, with a PORT from 1 to 65535"
};
const struct kind value_local_socket = {
        parse_local_socket, value_print_pointer, value_is_pointer_set, value_clear_pointer,
        .expected = "the path of a socket, which begins with / and has at most 107 octets"
};
const struct kind value_path = { parse_path, value_print_pointer, value_is_pointer_set,
                                 value_clear_pointer, .expected = "a path that begins with /" };
const struct kind value_any_path = { parse_any_path, value_print_pointer, value_is_pointer_set,
                                     value_clear_pointer,
                                     .expected = "an absolute or relative path" };

/* --- of the command line only ----------------------------------------------------------------- */

static bool parse_action(const struct option *o, const char *value, void *field) {
        bool is_network = strcmp(value, "network") == 0;

        *(int *) field = is_network ? ACTION_CHECK_NETWORK : (int) o->min;
        return is_network || *value == '\0';
}

static bool parse_file(const struct option *o, const char *value, void *field) {
        (void) o;
        if (*value)
                *(const char **) field = value;
        return *value != '\0';
}

const struct kind value_action = { parse_action, .expected = "network, or no value" };
const struct kind value_file = { parse_file, .expected = "a file name" };
