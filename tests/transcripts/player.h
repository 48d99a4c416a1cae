/* SPDX-License-Identifier: MIT */
/* transcripts/player.h - plays the octets of a client to the core, gives verdicts, and keeps a log
 * of the events.
 *
 * Used by replay.c and by the fuzzers. On the way it asserts what server.h promises about events:
 * their order, their arguments, and that every reply is well formed. What breaks a promise is
 * printed, and aborts the program.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "smtp/login.h"
#include "smtp/server.h"

/* A growing string of octets. Starts zeroed. */
struct text {
        char *data;
        size_t n, size;
};

void text_add(struct text *t, const char *data, size_t n);
void text_clear(struct text *t); /* frees it, too */
bool text_equal(const struct text *a, const struct text *b);

/* An event as the log keeps it. Text of messages is kept with the SERVER_END that asks for the
 * first verdict on it. */
struct record {
        enum event_kind kind;
        size_t index;         /* SERVER_END: of the recipient */
        short code;           /* SERVER_REPLY */
        struct text envelope; /* SERVER_END: "! <sender> options\n", "> <recipient> options\n"... */
        /* what the event says: a reply as it goes over the wire, the message, ... */
        struct text text;
};

struct log {
        struct record *records;
        size_t n;
};

void log_clear(struct log *l);

/* Prints where two logs differ; true if they do not. */
bool log_is_equal(const struct log *a, const struct log *b, const char *name);

struct player {
        /* to be set */
        const char *name; /* of the session, for messages */
        struct server_rules rules;
        unsigned offer;         /* answer to SERVER_HELLO */
        const char *mechanisms; /* likewise; NULL: none */
        /* Gives the verdict on a question about an address ("" where it is about none; of
         * SERVER_AUTH, the line). To SERVER_AUTH it may give none: everybody is believed then. */
        void (*verdict)(void *userdata, enum event_kind question, const char *address,
                        struct reply *ret);
        void *userdata;

        /* results */
        struct log log;
        bool is_closed;

        /* its own business: what we know of the transaction from events and verdicts alone */
        struct server server;
        bool has_hello, has_sender, is_prdr, is_in_message, may_be_secure, is_in_exchange,
                is_authenticated;
        struct login login;
        struct challenge challenge;
        unsigned n_recipients, n_ends;
        struct text sender, *recipients;
        struct text envelope, body;
};

void player_start(struct player *p);

/* A burst of octets, given to the core in pieces of `piece` octets. Needs one of no octets for the
 * greeting. */
void player_feed(struct player *p, const char *octets, size_t n, size_t piece);

void player_end(struct player *p); /* the log stays */
