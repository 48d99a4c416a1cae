/* SPDX-License-Identifier: MIT */
/* smtp/server_internal.h - what the parts of the server share: the machine (server.c), the text of
 * messages (server_message.c), their verdicts (server_verdicts.c), the verbs (verb.c) and AUTH
 * (server_auth.c). */
#pragma once

#include "smtp/server.h"

#define SEND_MAIL_FIRST "send MAIL first"

/* What a command can ask of the session so far: done, or not done. */
enum precondition {
        HELLO = 1 << 0,
        SENDER = 1 << 1,
        RECIPIENT = 1 << 2,
        NO_SENDER = 1 << 3,
        CHUNK = 1 << 4, /* BDAT was accepted: the message has begun */
        NO_CHUNK = 1 << 5,
};

/* An event to come, after those that are queued. */
void server_emit(struct server *s, enum event_kind kind);

/* Answers a command. It waits for its turn if earlier answers are still to be collected. Clients
 * that do nothing but err are sent away. */
void server_say(struct server *s, int code, const char *enhanced, const char *text);
void server_say_reply(struct server *s);                 /* s->reply */
void server_refuse(struct server *s, enum refused whom); /* by s->reply */

/* Whether the client did little but err, and is to be sent away. */
bool server_has_erred(const struct server *s);

/* The transaction is over: silently, or with its event. */
void server_end_transaction(struct server *s);
void server_reset(struct server *s);

/* The message is complete: the next question about it, or its end; and s->reply to that question.
 */
void server_next_verdict(struct server *s);
void server_answer_verdict(struct server *s);
/* 554 for a bare "CR" or "LF", after which nobody knows what is a line. */
void server_close_for_bare(struct server *s, const char *octet);

/* DATA was accepted; and octets of its message. */
void server_invite_body(struct server *s);
size_t server_take_body(struct server *s, char *in, size_t n, struct event *ret);

/* Makes s->reply of what the message suffers from. */
void server_blame(struct server *s);

/* BDAT with its arguments: from now on its octets come, and are lost. false if it does not say how
 * many they are, and the session is closed. If it is refused, s->reply says so when they are over.
 */
bool server_announce_chunk(struct server *s, const char *args, size_t n);

/* It is in order: its octets are text. Of the first one s->reply decides it, the answer to
 * SERVER_DATA. */
void server_begin_chunk(struct server *s, const char *args, size_t n);
void server_invite_chunks(struct server *s);

/* Until all its octets are taken nothing else is; then it is to be ended. */
bool server_is_in_chunk(const struct server *s);
size_t server_take_chunk(struct server *s, char *in, size_t n, struct event *ret);
void server_end_chunk(struct server *s, struct event *ret);

/* AUTH with its arguments; a line of its exchange, which is in s->line; and s->reply to either. */
void server_auth_begin(struct server *s, const char *args, size_t n);
void server_auth_respond(struct server *s, size_t n);
void server_auth_answer(struct server *s);

/* Whether it was refused as often as it may be. */
bool server_has_failed_auth(const struct server *s);
void server_close_for_auth(struct server *s);

/* Of the line under way: the most octets that it can have; whether it is AUTH, however spelt, or a
 * response; and whether it may hold a secret, because it is that or may be. */
size_t server_line_max(const struct server *s);
bool server_is_of_exchange(const struct server *s);
bool server_is_secret(const struct server *s);

/* Of that line, as a command of `n` octets: decides how much may be shown. The rest is forgotten.
 */
void server_show(struct server *s, bool is_verb, size_t n);
void server_forget_line(struct server *s);

/* Counts a command. false if it is one too many, and the session is closed. */
bool server_count_command(struct server *s);

/* Runs a whole command, without its line end. */
void verb_run(struct server *s, const char *line, size_t n);
