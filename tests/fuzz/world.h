/* SPDX-License-Identifier: MIT */
/* fuzz/world.h - all that is outside of a session: a client, upstream servers, and what happens
 * between them, without clock or network.
 *
 * It is made of pieces, each of which the client or a server says when the program waits for it,
 * and not before: poll(2) and the broker are ours (world.c). A server that has no piece left
 * answers as a friendly one does. What the servers hear is read as by a server of the RFCs' words,
 * with no code of the program, and kept as handovers.
 *
 *      0xfe   the client says what follows
 *      0xfd   a server says it, in place of its friendly answer; the friendly one if it is empty
 *      0xfc   a server says it and is gone
 *      0xfb   a server is silent for ever
 *      0xfa   a server says it without being asked, before it is due
 *      0xf9   the client says it many times: 16 for each unit of its first octet, up to 64 KiB
 */
#pragma once

#include <stdint.h>

#include "oracle.h"

enum { SERVERS_MAX = 40, VERDICTS_MAX = 1000 };

/* How the client ends, when it has no piece left. */
enum ending { ENDING_EOF, ENDING_SILENCE, ENDING_STOP };

/* What the servers are like. */
struct world_rules {
        enum ending ending;
        bool is_upstream_lmtp;
        uint8_t extensions; /* lines of the reply to EHLO, 1 << index of a table */
        uint8_t failures;   /* connections that do not come about: 1 << number, from 0 */
};

/* A whole message at a server, and what was said of it. */
struct handover {
        bool is_lmtp;
        struct text sender;     /* as MAIL had it between < and > */
        struct text recipients; /* that were welcome, each with an LF */
        unsigned n_recipients;
        struct text content; /* decoded, LF lines */
        unsigned n_codes;    /* of replies since the final dot; in LMTP one for each recipient */
        short codes[VERDICTS_MAX];
};

struct world {
        struct text client_said, client_heard; /* said: that was there to be read */
        bool is_client_over;                   /* it ended before the program did */
        struct handover *handovers;
        size_t n_handovers;
        int client; /* the program's end of the connection */
        int stop;   /* for struct patience: what asks the program to end */
};

extern struct world world;

/* Where the broker finds Mailman; all else is an upstream. */
#define WORLD_MAILMAN "192.0.2.80:8024"

/* Once in a process. */
void world_init(void);

/* A new world, made of pieces. */
void world_start(const char *pieces, size_t n, const struct world_rules *rules);

/* Takes in what the program has said so far. */
void world_listen(void);

/* Gives standard error back, what the program wrote stays known. */
void world_hear_no_more(void);

/* Forgets it. The program must have closed all its connections. */
void world_end(void);

/* Standard error of the program, in memory. */
size_t world_stderr(const char **ret);

/* What is not so ends it all, after a message on the real standard error. */
#define world_must(condition)                                                                      \
        do {                                                                                       \
                if (!(condition))                                                                  \
                        world_fail(__FILE__, __LINE__, #condition);                                \
        } while (0)
_Noreturn void world_fail(const char *file, int line, const char *what);
