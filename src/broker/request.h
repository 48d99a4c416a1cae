/* SPDX-License-Identifier: MIT */
/* broker/request.h - requests from a session to its broker, and which ones are allowed. Pure: no
 * descriptors.
 *
 * Both ends are the same program, one forked from the other, so structs are sent as they are. A
 * request is a struct request and n_text octets, with descriptors on its first octet; an answer has
 * the same form. The session may have been taken over: nothing in a request is trusted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "io/peer.h"
#include "smtp/address.h"

enum {
        /* recipients as environment_reserve() has them, and the rest */
        REQUEST_TEXT_MAX = 2 * 31 * 4096 + 16 * 1024,
        REQUEST_VARIABLES = 14,
        REQUEST_LIST_MAX = 127,
        ANSWER_TEXT_MAX = 17 * 1024,
        ANSWER_REASON_MAX = 1023,
};

enum request_kind {
        REQUEST_RUN = 1, /* a program; the message comes with it */
        REQUEST_CONNECT, /* to an endpoint; the connection comes with the answer */
        REQUEST_LIST,    /* whether an address is that of a list of Mailman 2.1 */
        REQUEST_TLS,     /* a TLS engine for the connection; its three descriptors come with it */
        REQUEST_CANCEL,  /* the request under way; there is no other answer than to that */
        REQUEST_PEER,    /* who the client is, by the word of a balancer; there is no answer */
};

/* REQUEST_RUN: which program. */
enum request_program { REQUEST_PROGRAM, REQUEST_WRAPPER };

/* REQUEST_LIST: what is to be known of it. */
enum request_purpose {
        REQUEST_TO_LOOK, /* whether it is a list */
        REQUEST_TO_RUN,  /* and whether the wrapper can be run for it, as far as can be seen */
};

struct request {
        uint32_t kind;
        /* RUN: enum request_program; CONNECT: which endpoint; LIST: enum request_purpose */
        uint32_t index;
        uint32_t milliseconds; /* RUN, CONNECT: that are left for it */
        /* RUN: the variables; LIST: the local part; PEER: the client, as peer_set_client() wants
         * it */
        uint32_t n_text;
        uint32_t command; /* RUN of the wrapper: which of its commands (broker/lists.h) */
        char list[REQUEST_LIST_MAX + 1]; /* and for which list */
};

enum answer_outcome {
        ANSWER_LOST, /* there is none: the broker is gone, or was left alone */
        /* the program ended by itself; it is connected; it is a list; the engine runs */
        ANSWER_DONE,
        ANSWER_NONE,     /* it is no list */
        ANSWER_UNABLE,   /* it is a list, but the wrapper cannot be run */
        ANSWER_FAILED,   /* it could not be run, connected to, looked for */
        ANSWER_LATE,     /* the program was killed at its deadline */
        ANSWER_CANCELED, /* or because the session said so */
        ANSWER_SURVIVED, /* it did not end when it was killed, and was left behind */
};

struct answer {
        uint32_t outcome;
        int32_t wait_status; /* of a program that ended */
        uint32_t n_text;     /* octets of its standard output */
        uint32_t is_cut;     /* there was more */
        uint32_t command;    /* of a list's address */
        char list[REQUEST_LIST_MAX + 1];
        char reason[ANSWER_REASON_MAX + 1]; /* UNABLE, FAILED, LOST; a program that could not run */
};

struct prologue_plan;

/* What a broker may do for its session. */
struct services {
        int client; /* its connection, as long as the broker is not there yet */
        const struct peer *peer;
        bool has_balancer; /* the peer is named by the first request, and by no other */
        const char *hostname;
        char *const *program; /* argv of the one that strategies run; NULL: none */
        /* that program has the output (io/output.h) as descriptor 3 */
        bool has_output;
        bool is_filter;                       /* the message goes on after that program */
        const char *wrapper, *lists;          /* of Mailman 2.1; NULL: none */
        const struct list *upstream;          /* endpoints: these; NULL: none */
        const char *port;                     /* of those that name none; NULL: 25 */
        const struct prologue_plan *prologue; /* what is said to them first; NULL: nothing */
        const char *mailman;                  /* and last that of Mailman 3; NULL: none */
        const char *engine;                   /* a TLS engine for the connection; NULL: none */
        char *const *engine_argv;
};

/* The endpoint with this index, and its default port; NULL if there is no such endpoint. */
const char *request_endpoint(const struct services *s, uint32_t index, const char **ret_port);

/* What is wrong with a request, including its n_text; NULL if it is allowed. */
const char *request_check(const struct request *r, const struct services *s);

/* What is wrong with the variables, or NULL. There must be each of request_variables as
 * "NAME=value" with its NUL, once and in that order. */
const char *request_check_variables(const char *text, size_t n);

/* The names of the variables that a session supplies, each with its "=". */
extern const char *const request_variables[REQUEST_VARIABLES];
