/* SPDX-License-Identifier: MIT */
/* smtp/command.h - the arguments of MAIL and RCPT.
 *
 * RFC 5321 section 4.1.1.2 and 4.1.1.3, and the parameters of RFC 1870 (SIZE), RFC 6152 (BODY),
 * RFC 6531 (SMTPUTF8), RFC 4954 (AUTH), RFC 3461 (DSN) and PRDR. A new parameter is a new row of
 * the table in command.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smtp/address.h"
#include "smtp/reply.h"

/* octets of all the parameters of one command: ORCPT has an address once more (RFC 3461) */
enum { OPTIONS_MAX = 1024 };

/* Extensions that the EHLO reply offers only if the destination supports them too, because they are
 * promises about the message's whole path or about the destination's replies. PIPELINING, SIZE and
 * HELP concern this connection only, and are always offered. EXTENSIONS_LOCAL are those for
 * messages that are delivered here; DSN is not among them, because nobody here sends notifications.
 */
enum extension {
        EXTENSION_8BITMIME = 1 << 0,
        EXTENSION_SMTPUTF8 = 1 << 1,
        EXTENSION_ENHANCEDSTATUSCODES = 1 << 2,
        EXTENSION_DSN = 1 << 3,
        EXTENSION_PRDR = 1 << 4, /* not in LMTP, which has it built in */
        EXTENSIONS_ALL = (1 << 5) - 1,
        EXTENSIONS_LOCAL = EXTENSION_8BITMIME | EXTENSION_SMTPUTF8 | EXTENSION_ENHANCEDSTATUSCODES,
        EXTENSION_AUTH = 1 << 5, /* mechanisms were offered: it has no word of its own */
};

/* What is offered to a client that says EHLO or LHLO. */
struct offer {
        unsigned extensions; /* enum extension, or-ed */
        uint64_t max_size;   /* octets; 0: no limit */
        /* of a message; and RCPT commands of a transaction, refused or not */
        unsigned max_recipients;
        bool is_split; /* of several recipients, others than the first are sent away in any case */
};

/* MAIL FROM:<address> options: who sends, and what the message will be like. */
struct sender {
        struct address address;
        char options[OPTIONS_MAX + 1]; /* the parameters as given, one blank between them */
        uint64_t size;                 /* SIZE=, in octets; 0 if not given */
        bool is_8bit;                  /* BODY=8BITMIME */
        bool is_smtputf8;              /* SMTPUTF8 */
        bool is_prdr;                  /* PRDR */
};

/* RCPT TO:<address> options. */
struct recipient {
        struct address address;
        char options[OPTIONS_MAX + 1];
};

/* What the session allows in them. */
struct command_rules {
        bool is_extended;    /* the client said EHLO or LHLO: parameters are allowed */
        unsigned extensions; /* offered: enum extension, or-ed */
        uint64_t max_size;   /* octets; 0: no limit */
        bool is_smtputf8;    /* this transaction's sender asked for SMTPUTF8 */
        /* the domain of addresses that have none; NULL: they stay as they are */
        const char *qualify;
        bool needs_domain; /* those that have none are refused, but Postmaster */
};

enum command_status {
        COMMAND_OK,
        COMMAND_REFUSED, /* whose address it is was understood */
        COMMAND_BAD,     /* it was not */
};

/* Parse the arguments after the verb, without the line end. Set `ret` and return COMMAND_OK, or set
 * `ret_reply` to the reply to give. */
enum command_status command_parse_mail(const char *args, size_t n,
                                       const struct command_rules *rules, struct sender *ret,
                                       struct reply *ret_reply);
enum command_status command_parse_rcpt(const char *args, size_t n,
                                       const struct command_rules *rules, struct recipient *ret,
                                       struct reply *ret_reply);

/* Finds the parameter with this keyword ("RET") in options as above; sets `*ret_n` to its length
 * including the value. NULL if it was not given. */
const char *command_find_option(const char *options, const char *keyword, size_t *ret_n);

/* Whether the options contain a parameter of DSN: RET, ENVID, NOTIFY or ORCPT. */
bool command_has_dsn(const char *options);
