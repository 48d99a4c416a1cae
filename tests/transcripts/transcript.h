/* SPDX-License-Identifier: MIT */
/* transcripts/transcript.h - reads transcript files. README.md describes the format. */
#pragma once

#include "player.h"

enum item_kind { ITEM_CLIENT, ITEM_SERVER, ITEM_MESSAGE, ITEM_CLOSE };

struct item {
        enum item_kind kind;
        unsigned line;        /* in the file */
        struct text text;     /* octets from the client; expected reply line; expected message */
        struct text envelope; /* ITEM_MESSAGE: as in struct record */
};

/* "? VERB <address> reply": the verdict on a question. */
struct answer {
        enum event_kind question;
        char address[ADDRESS_MAX + 1]; /* or a line of an exchange of AUTH; "" means any */
        struct reply reply;
};

struct session {
        char name[200]; /* file:line title */
        struct server_rules rules;
        char hostname[256], qualify[256];
        unsigned offer;         /* extensions */
        const char *mechanisms; /* of AUTH; NULL: none */
        struct item *items;
        size_t n_items;
        struct answer *answers;
        size_t n_answers;
};

struct transcript {
        struct session *sessions;
        size_t n;
};

/* Reads a file. false, after a message to stderr, if it cannot be read or understood. */
bool transcript_read(const char *path, struct transcript *ret);

void transcript_clear(struct transcript *t);
