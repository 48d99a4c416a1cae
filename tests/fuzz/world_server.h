/* SPDX-License-Identifier: MIT */
/* fuzz/world_server.h - the servers of the world, inside of it: world.c has the pieces, the
 * connections and the client, world_server.c what a server hears and says. */
#pragma once

#include <stdint.h>

#include "world.h"

#define must world_must

/* Kinds of pieces, as world.h has them. */
enum {
        SAY_MANY = 0xf9,
        SERVER_EARLY,
        SERVER_SILENCE,
        SERVER_LAST,
        SERVER_SAYS,
        CLIENT_SAYS,
};

/* A piece: who says what. */
struct piece {
        unsigned char kind;
        const char *text;
        size_t n;
};

/* A server's part of a conversation with the program. */
enum command {
        COMMAND_CONNECT,
        COMMAND_EHLO,
        COMMAND_MAIL,
        COMMAND_RCPT,
        COMMAND_DATA,
        COMMAND_RSET,
        COMMAND_QUIT,
        COMMAND_XCLIENT,
        COMMAND_DOT
};

struct question {
        enum command command;
        struct text argument;
};

struct server_end {
        int ours, theirs;
        uint8_t extensions; /* as in struct world_rules */
        bool is_lmtp, is_mailman, is_silent, is_gone, is_nonsense;
        struct text heard; /* and not understood yet */
        bool in_content;
        struct question *questions; /* that were not answered yet */
        size_t n_questions;
        struct text reply; /* the line of a reply that is under way */
        int code;          /* of its lines so far */
        unsigned n_lines;
        struct text sender, recipients; /* of the transaction */
        unsigned n_recipients;
        long handover;   /* whose verdicts are under way, or -1 */
        unsigned n_owed; /* verdicts */
};

/* --- world.c ---------------------------------------------------------------------------------- */

/* The next piece of a server; it is not taken yet. */
bool world_next_of_server(struct piece *ret);

void world_take_of_server(const struct piece *p);

void world_send(int fd, const char *text, size_t n);

/* What has come. false if it was the last. */
bool world_receive(int fd, struct text *into);

/* --- world_server.c --------------------------------------------------------------------------- */

/* It has a connection, and owes a greeting. */
void world_server_begin(struct server_end *s);

/* It takes in what the program has said so far. */
void world_server_listen(struct server_end *s);

/* The program waits for this server. false if nothing will come. */
bool world_server_move(struct server_end *s);

/* The program looks whether something has come unasked. */
void world_server_interrupt(struct server_end *s);

/* The program must have closed its end. */
void world_server_forget(struct server_end *s);
