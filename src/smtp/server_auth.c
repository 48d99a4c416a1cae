/* SPDX-License-Identifier: MIT */
/* smtp/server_auth.c - AUTH: the server's side of an exchange. RFC 4954 section 4.
 *
 * What stands in its lines is a secret: they are forgotten when they are answered. Whether they are
 * right somebody else decides.
 */
#include <string.h>

#include "base/ascii.h"
#include "smtp/server_internal.h"

static const struct fixed_reply too_long = { 500, "5.5.6", "the response is too long" };
static const struct fixed_reply no_base64 = { 501, "5.5.2", "the response is not base64" };

bool server_is_of_exchange(const struct server *s) {
        size_t at = 0;

        while (at < s->n_line && (s->line[at] == ' ' || s->line[at] == '\t'))
                at++;
        return s->phase == SERVER_IN_AUTH ||
               (s->n_line - at >= 4 && ascii_is_equal(s->line + at, "AUTH", 4));
}

size_t server_line_max(const struct server *s) {
        return server_is_of_exchange(s) ? AUTH_LINE_MAX : COMMAND_MAX;
}

/* A line after a refused AUTH may be a response that came all the same. */
bool server_is_secret(const struct server *s) {
        return server_is_of_exchange(s) || s->uninvited == AN_EXCHANGE || s->n_secret > 0;
}

/* "AUTH" and the mechanism, if it can be one. */
static size_t shown_of_auth(const char *line, size_t n) {
        size_t begin = strlen("AUTH"), end;

        while (begin < n && line[begin] == ' ')
                begin++;
        for (end = begin; end < n && line[end] != ' ';)
                end++;
        return auth_is_mechanism(line + begin, end - begin) ? end : strlen("AUTH");
}

void server_show(struct server *s, bool is_verb, size_t n) {
        s->n_shown = !server_is_secret(s)       ? n
                     : !is_verb                 ? 0
                     : server_is_of_exchange(s) ? shown_of_auth(s->line, n)
                                                : n;
}

const char *server_command(const struct server *s, size_t *ret_n) {
        *ret_n = s->n_shown;
        return s->line;
}

bool server_has_failed_auth(const struct server *s) {
        return s->n_auth_refusals >= SERVER_AUTH_REFUSALS;
}

void server_close_for_auth(struct server *s) {
        server_close(s, 421, "4.7.0", "too many failed authentications, closing connection");
}

void server_forget_line(struct server *s) {
        explicit_bzero(s->line + s->n_shown, sizeof(s->line) - s->n_shown);
        s->n_secret = 0;
}

static void refuse(struct server *s, int code, const char *enhanced, const char *text) {
        server_say(s, code, enhanced, text);
        s->uninvited = AN_EXCHANGE;
}

/* The name in capitals, as it is registered. */
static void take_mechanism(struct server *s, const char *name, size_t n) {
        for (size_t i = 0; i < n; i++)
                s->mechanism[i] = ascii_upper(name[i]);
        s->mechanism[n] = '\0';
}

/* "AUTH", the mechanism and the initial response, if there is one, with one blank between them: it
 * is no longer than it came, and each part moves to the front. */
static void ask(struct server *s, const char *initial, size_t n) {
        size_t n_name = strlen(s->mechanism), at = strlen("AUTH ");

        memcpy(s->line, "AUTH ", at);
        memcpy(s->line + at, s->mechanism, n_name);
        s->n_shown = at += n_name;
        if (n > 0) {
                s->line[at++] = ' ';
                memmove(s->line + at, initial, n);
        }
        s->n_secret = at + n;
        s->fault = NULL;
        server_emit(s, SERVER_AUTH);
}

/* An initial response of nothing is "=". */
void server_auth_begin(struct server *s, const char *args, size_t n) {
        const char *blank = memchr(args, ' ', n);
        size_t n_name = blank ? (size_t) (blank - args) : n, at = n_name;

        while (at < n && args[at] == ' ')
                at++;
        if (!s->is_extended)
                refuse(s, 503, "5.5.1", "send EHLO first");
        else if (s->rules.auth == SERVER_AUTH_NEEDS_TLS && !s->is_secure)
                refuse(s, 538, "5.7.11", "AUTH is allowed inside TLS only: send STARTTLS first");
        else if (!auth_is_mechanism(args, n_name))
                refuse(s, 501, "5.5.4", "syntax: AUTH mechanism [initial-response]");
        else if (!(n - at == 1 && args[at] == '=') && !auth_is_base64(args + at, n - at))
                refuse(s, 501, "5.5.2", "the initial response is not base64");
        else if (!auth_has_mechanism(s->mechanisms, args, n_name))
                refuse(s, 504, "5.5.4", "this mechanism is not offered");
        else {
                take_mechanism(s, args, n_name);
                ask(s, args + at, n - at);
        }
}

/* What is no response ends the exchange, in the words that whoever leads it understands. */
void server_auth_respond(struct server *s, size_t n) {
        bool is_end = n == 1 && *s->line == '*';

        if (!server_count_command(s))
                return;
        s->fault = s->is_overlong                           ? &too_long
                   : !is_end && !auth_is_base64(s->line, n) ? &no_base64
                                                            : NULL;
        if (s->fault)
                s->line[0] = '*';
        s->n_secret = s->fault ? 1 : n;
        server_emit(s, SERVER_AUTH);
}

void server_auth_answer(struct server *s) {
        server_forget_line(s);
        s->phase = SERVER_COMMANDS;
        if (s->fault && s->reply.code != 421)
                reply_fix(&s->reply, s->fault);
        if (s->reply.code == 334)
                s->phase = SERVER_IN_AUTH;
        else if (reply_is_positive(&s->reply))
                memcpy(s->authenticated, s->mechanism, sizeof(s->authenticated));
        else {
                s->n_auth_refusals++;
                s->uninvited = AN_EXCHANGE;
        }
        server_say_reply(s);
}
