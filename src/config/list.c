/* SPDX-License-Identifier: MIT */
/* config/list.c - values that are lists: ITEM[,ITEM...]. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/value.h"
#include "io/connect.h"
#include "io/listen.h"
#include "smtp/address.h"

/* Whether nothing but blanks follows, up to the next comma. */
static bool is_end(const char *s) {
        s += strspn(s, " \t");
        return *s == ',' || *s == '\0';
}

bool value_add_to_list(struct list *list, char *item) {
        char **items = reallocarray(list->items, list->n + 1, sizeof(*items));

        if (!items)
                return false;
        list->items = items;
        list->items[list->n++] = item;
        return true;
}

/* The n octets at begin as one more item. */
static bool add_item(struct list *list, const char *begin, size_t n,
                     bool (*is_item)(const char *item)) {
        char *item = strndup(begin, n);

        if (item && is_item(item) && value_add_to_list(list, item))
                return true;
        free(item);
        return false;
}

bool value_parse_list(const char *value, struct list *list, bool (*is_item)(const char *item)) {
        for (const char *p = value; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
                const char *begin = p + strspn(p, " \t");
                size_t n = strcspn(begin, ", \t");

                if (!is_end(begin + n) || !add_item(list, begin, n, is_item))
                        return false;
        }
        return true;
}

void value_print_list(const void *field, FILE *out) {
        const struct list *list = field;

        for (size_t i = 0; i < list->n; i++)
                fprintf(out, "%s%s", i > 0 ? "," : "", list->items[i]);
}

bool value_is_list_set(const void *field) {
        return ((const struct list *) field)->n > 0;
}

void value_clear_list(void *field) {
        struct list *list = field;

        for (size_t i = 0; i < list->n; i++)
                free(list->items[i]);
        free(list->items);
        *list = (struct list) { NULL, 0 };
}

static bool parse_endpoints(const struct option *o, const char *value, void *field) {
        (void) o;
        return value_parse_list(value, field, connect_is_endpoint);
}

static bool parse_listen(const struct option *o, const char *value, void *field) {
        (void) o;
        return value_parse_list(value, field, listen_is_endpoint);
}

/* As it stands in an address: no dot at its end, and nothing that is no domain's. */
static bool is_domain(const char *value) {
        char path[2 + DOMAIN_MAX + 2];
        size_t n = text_format(path, sizeof(path), "x@%s", value), used;
        struct address a;

        return address_parse_path(path, n, &a, &used) == ADDRESS_OK && used == n && !a.is_utf8 &&
               strcmp(address_domain(&a), value) == 0;
}

static bool parse_domain(const struct option *o, const char *value, void *field) {
        (void) o;
        return is_domain(value) && value_set_pointer(field, value);
}

const struct kind value_domain = { parse_domain, value_print_pointer, value_is_pointer_set,
                                   value_clear_pointer,
                                   .expected = "DOMAIN, without a dot at either end" };

static bool is_domain_pattern(const char *s) {
        return is_domain(*s == '.' ? s + 1 : s);
}

static bool parse_domains(const struct option *o, const char *value, void *field) {
        (void) o;
        return value_parse_list(value, field, is_domain_pattern);
}

static bool parse_networks(const struct option *o, const char *value, void *field) {
        (void) o;
        return value_parse_list(value, field, peer_is_network);
}

#define LIST(parse_, expected_)                                                                    \
        { .parse = (parse_),                                                                       \
          .print = value_print_list,                                                               \
          .is_set = value_is_list_set,                                                             \
          .clear = value_clear_list,                                                               \
          .is_list = true,                                                                         \
          .expected = (expected_) }

const struct kind value_endpoints =
        LIST(parse_endpoints, "HOST[:PORT], [IPV6]:PORT or /SOCKET, with a PORT from 1 to 65535");
const struct kind value_listen =
        LIST(parse_listen, "ADDRESS:PORT, [IPV6]:PORT, PORT (on loopback) or /SOCKET, with a PORT "
                           "up to 65535 (0: any free port)");
const struct kind value_domains =
        LIST(parse_domains, "DOMAIN, or .DOMAIN for its subdomains, without a dot at the end");
const struct kind value_networks = LIST(parse_networks, "ADDRESS[/BITS], or local");
