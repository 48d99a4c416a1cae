/* smtp/server_internal.h - what the two halves of the server share: the machine (server.c), and the verbs (verb.c). */
#pragma once

#include "smtp/server.h"

#define SEND_MAIL_FIRST "send MAIL first"

/* What a command can ask of the session so far: done, or not done. */
enum precondition {
        HELLO = 1 << 0,
        SENDER = 1 << 1,
        RECIPIENT = 1 << 2,
        NO_SENDER = 1 << 3,
};

/* An event to come, after those that are queued. */
void server_emit(struct server *s, enum event_kind kind);

/* Answers a command. It waits for its turn if earlier answers are still to be collected. Clients that do nothing but err are
 * sent away. */
void server_say(struct server *s, int code, const char *enhanced, const char *text);
void server_say_reply(struct server *s); /* s->reply */
void server_refuse(struct server *s, enum refused whom); /* by s->reply */

/* Whether the client did little but err, and is to be sent away. */
bool server_has_erred(const struct server *s);

/* The transaction is over: silently, or with its event. */
void server_end_transaction(struct server *s);
void server_reset(struct server *s);

/* Runs a whole command, without its line end. */
void verb_run(struct server *s, const char *line, size_t n);
