/* SPDX-License-Identifier: MIT */
/* config/value.h - kinds of values: each parses a text into a field of struct config, prints it
 * back, and frees it.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "config/config.h"

struct option;

struct kind {
        /* Returns false if the text is not such a value; errno is ENOMEM if memory ran out. */
        bool (*parse)(const struct option *o, const char *value, void *field);
        void (*print)(const void *field, FILE *out); /* NULL: it is never printed */
        bool (*is_set)(const void *field);           /* NULL: it always is */
        void (*clear)(void *field);                  /* frees the value; NULL: nothing to free */
        const char *expected; /* what to use instead of a wrong value; NULL: a strategy's name */
        bool is_list;         /* values are added, until another source gives new ones */
        bool has_quotes;      /* in the value they group words */
};

extern const struct kind value_number, value_seconds, value_optional_seconds, value_optional_number;
extern const struct kind value_size;
extern const struct kind value_yes_no, value_protocol, value_hostname, value_peer, value_strategy;
extern const struct kind value_command, value_endpoint, value_path, value_user;
extern const struct kind value_domain, value_any_path;
extern const struct kind value_endpoints, value_listen, value_domains, value_networks;
extern const struct kind value_tls, value_tls_client, value_tls_minimum;
extern const struct kind value_tls_certificates, value_tls_keys, value_tls_file;
extern const struct kind value_local_socket, value_auth;
extern const struct kind value_upstream_tls, value_upstream_verify, value_upstream_name;
extern const struct kind value_upstream_user, value_upstream_auth;
extern const struct kind value_reply_rules, value_delay_rules;

/* Of the command line only: what to do instead of serving, and which file to read. */
extern const struct kind value_action, value_file;

/* Adds ITEM[,ITEM...] to the list. Returns false at the first invalid one. */
bool value_parse_list(const char *value, struct list *list, bool (*is_item)(const char *item));

/* Functions for other kinds. value_add_to_list() takes ownership of the item, unless memory runs
 * out. */
bool value_add_to_list(struct list *list, char *item);
bool value_parse_word(const char *value, const char *yes, const char *no, bool *ret);
bool value_set_pointer(char **field, const char *value);

void value_print_pointer(const void *field, FILE *out);
bool value_is_pointer_set(const void *field);
void value_clear_pointer(void *field);
void value_print_list(const void *field, FILE *out);
bool value_is_list_set(const void *field);
void value_clear_list(void *field);
