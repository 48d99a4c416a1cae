/* SPDX-License-Identifier: MIT */
/* fuzz/oracle_chunks.h - the oracle, inside of it: oracle.c hears and judges, oracle_chunks.c reads
 * and judges the chunks of BDAT. */
#pragma once

#include "oracle.h"

struct oracle {
        const char *in;
        size_t n, at;
        const struct server_rules *rules;
        const struct log *log;
        size_t record;            /* of the log, next to be heard */
        unsigned n_recipients;    /* that were accepted */
        bool is_prdr;             /* each hears its verdict, and then there is one for all */
        bool is_data_refused;     /* the last command */
        bool is_auth_refused;     /* likewise */
        bool is_in_exchange;      /* of AUTH: the next line is no command */
        unsigned n_auth_refusals; /* by whoever was asked */
        bool is_in_chunks;        /* a chunk was accepted, and more are to come */
        struct text chunks;       /* the octets of those so far */
};

#define must(condition)                                                                            \
        do {                                                                                       \
                if (!(condition))                                                                  \
                        oracle_fail(o, #condition, __FILE__, __LINE__);                            \
        } while (0)

_Noreturn void oracle_fail(const struct oracle *o, const char *what, const char *file, int line);

static inline bool is_positive(const struct record *reply) {
        return reply->code >= 200 && reply->code < 300;
}

/* --- oracle.c --------------------------------------------------------------------------------- */

/* The next record of this kind, before any reply that comes first. */
const struct record *oracle_hear(struct oracle *o, enum event_kind kind);

/* Whether the session ends, at once or with the next reply. */
bool oracle_is_closed(struct oracle *o);
bool oracle_is_closed_next(const struct oracle *o);

/* Nothing may be left to be heard: the client has said no more. */
void oracle_hear_nothing(struct oracle *o);

bool oracle_is_too_big(const struct oracle *o, const struct text *message);

void oracle_end_transaction(struct oracle *o);

/* A whole message: delivered as it was sent, or not delivered, since it is too big, or for `flaw`;
 * and all the replies that are due. */
bool oracle_judge_delivery(struct oracle *o, const struct text *message, short flaw);

/* --- oracle_chunks.c -------------------------------------------------------------------------- */

/* BDAT, and no blank but those between its words (a tab ends no verb, but may end the line). */
bool oracle_is_chunk(const char *line, size_t n, const char **ret_args);

/* BDAT with its octets. false if the session is over. */
bool oracle_judge_bdat(struct oracle *o, const char *args, size_t n);
