/* SPDX-License-Identifier: MIT */
/* smtp/address.h - mailboxes and paths as MAIL and RCPT carry them.
 *
 * RFC 5321 section 4.1.2 (Path, Mailbox), 4.1.3 (address literals), RFC 6531 section 3.3 (UTF-8).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
        /* octets of a mailbox. RFC 5321 asks for 64 + 1 + 255; real local parts are longer */
        ADDRESS_MAX = 1024,
        DOMAIN_MAX = 255, /* octets of a domain (RFC 5321 section 4.5.3.1.2) */
};

/* A mailbox, as it was written: quotes and letter case are kept. The empty one is the null sender
 * "<>". */
struct address {
        char text[ADDRESS_MAX +
                  1];           /* local-part "@" domain; without the "@" for <> and <Postmaster> */
        unsigned short n_local; /* octets of the local part in text */
        bool is_utf8;           /* has octets over 127: may only travel under SMTPUTF8 */
        /* came with a source route, which is dropped (RFC 5321 appendix C) */
        bool has_route;
};

enum address_status { ADDRESS_OK, ADDRESS_BAD, ADDRESS_TOO_LONG };

/* Parses a path at the beginning of `s`: "<" [route ":"] mailbox ">", or a bare mailbox, as lenient
 * servers accept it. Sets `*ret_used` to the number of octets used. "<>" and a local part without a
 * domain are parsed; whether they are allowed depends on the command. */
enum address_status address_parse_path(const char *s, size_t n, struct address *ret,
                                       size_t *ret_used);

/* The domain, or "" if there is none. */
const char *address_domain(const struct address *a);

static inline bool address_is_null(const struct address *a) {
        return a->text[0] == '\0';
}

/* Adds a domain to an address that has none and is not null. If the result is ADDRESS_TOO_LONG, the
 * address is unchanged.
 */
enum address_status address_qualify(struct address *a, const char *domain);

/* Writes the address without the quotes and backslashes of a quoted local part (RFC 5321
 * section 4.1.2). */
void address_plain(const struct address *a, char ret[static ADDRESS_MAX + 1]);

/* <Postmaster>, in any letter case: the one recipient that needs no domain (RFC 5321
 * section 4.5.1). */
bool address_is_postmaster(const struct address *a);

/* Whether two addresses are the same mailbox: the same octets, with the domain in any letter case.
 */
bool address_is_same(const struct address *a, const struct address *b);

/* Length of the well-formed UTF-8 sequence (RFC 3629) of two to four octets at `s`, or 0 if there
 * is none. */
size_t utf8_length(const char *s, size_t n);
