/* SPDX-License-Identifier: MIT */
/* smtp/server_message.c - the text of a message: what DATA invited, up to its dot; or the chunks of
 * BDAT, each of as many octets as it says. RFC 5321 section 4.1.1.4, RFC 3030 section 2.
 *
 * A chunk is announced before anything else of its command is judged. From then on its octets are
 * no commands: they are lost, unless the command turns out to be in order; then they are text. A
 * transaction of which a chunk is lost is over.
 */
#include "base/ascii.h"
#include "base/text.h"
#include "smtp/server_internal.h"

/* --- the text --------------------------------------------------------------------------------- */

static void invite(struct server *s, bool is_counted) {
        s->body = (struct body_decoder) { .lf_is_line_end = s->rules.lf_is_line_end,
                                          .is_counted = is_counted };
        s->flaw = NO_FLAW;
        s->size = 0;
}

/* Text that was decoded. A message that is too big is read to its end, but goes nowhere. */
static void give(struct server *s, const char *text, size_t n, struct event *ret) {
        ret->data = text;
        ret->n = n;
        if (s->rules.max_size > 0 && s->size > s->rules.max_size)
                s->flaw = TOO_BIG;
        if (n > 0 && s->flaw == NO_FLAW)
                server_emit(s, SERVER_BODY);
}

static void end_text(struct server *s) {
        s->phase = SERVER_VERDICTS;
        s->n_verdicts = 0;
}

void server_blame(struct server *s) {
        if (s->flaw == TOO_BIG)
                reply_set(&s->reply, 552, "5.3.4", "message too big: at most %llu octets",
                          (unsigned long long) s->rules.max_size);
        else
                reply_set(&s->reply, 554, "5.6.0",
                          "bare %s in the message: only CRLF ends a line (RFC 5321 section 2.3.8)",
                          s->flaw == BARE_CR ? "CR" : "LF");
}

/* --- after DATA ------------------------------------------------------------------------------- */

void server_invite_body(struct server *s) {
        s->phase = SERVER_IN_BODY;
        invite(s, false);
}

/* Where a bare CR or LF stands nobody knows any more where the message ends. */
size_t server_take_body(struct server *s, char *in, size_t n, struct event *ret) {
        size_t used, n_text;
        enum body_status status = body_decode(&s->body, in, n, &used, &n_text);

        s->size = s->body.n_octets;
        if (status == BODY_BARE_CR || status == BODY_BARE_LF) {
                server_close_for_bare(s, status == BODY_BARE_CR ? "CR" : "LF");
                return used;
        }
        give(s, in, n_text, ret);
        if (status == BODY_END)
                end_text(s);
        return used;
}

/* --- BDAT ------------------------------------------------------------------------------------- */

/* size [ "LAST" ] */
static bool parse_chunk(const char *args, size_t n, struct chunk *ret) {
        char digits[32];
        size_t at = 0;

        while (at < n && ascii_is_digit(args[at]))
                at++;
        text_format(digits, sizeof(digits), "%.*s", (int) at, args);
        if (at >= sizeof(digits) || !ascii_parse_number(digits, INT64_MAX, &ret->n_left))
                return false;
        if (at < n && args[at] != ' ')
                return false;
        while (at < n && args[at] == ' ')
                at++;
        ret->is_last = n - at == 4 && ascii_is_equal(args + at, "LAST", 4);
        return at == n || ret->is_last;
}

bool server_announce_chunk(struct server *s, const char *args, size_t n) {
        if (s->is_overlong)
                server_close(s, 500, "5.5.2", "line too long, closing connection");
        else if (!parse_chunk(args, n, &s->chunk))
                server_close(s, 501, "5.5.4", "syntax: BDAT size [LAST], closing connection");
        else
                s->phase = SERVER_IN_LOST_CHUNK;
        return s->phase == SERVER_IN_LOST_CHUNK;
}

/* Before the first one, whether there may be a message. */
void server_begin_chunk(struct server *s, const char *args, size_t n) {
        (void) args, (void) n;
        if (s->done & CHUNK)
                s->phase = SERVER_IN_CHUNK;
        else
                server_emit(s, SERVER_DATA);
}

void server_invite_chunks(struct server *s) {
        if (s->reply.code == 354) {
                s->phase = SERVER_IN_CHUNK;
                s->done |= CHUNK;
                invite(s, true);
        } else if (s->reply.code == 421)
                server_say_reply(s);
}

bool server_is_in_chunk(const struct server *s) {
        return s->phase == SERVER_IN_CHUNK || s->phase == SERVER_IN_LOST_CHUNK;
}

static void take_text(struct server *s, char *in, size_t n, struct event *ret) {
        size_t used, n_text;
        enum body_status status = body_decode(&s->body, in, n, &used, &n_text);

        s->size = s->body.n_octets;
        if (status == BODY_MORE)
                give(s, in, n_text, ret);
        else
                s->flaw = status == BODY_BARE_CR ? BARE_CR : BARE_LF;
}

size_t server_take_chunk(struct server *s, char *in, size_t n, struct event *ret) {
        if (n > s->chunk.n_left)
                n = (size_t) s->chunk.n_left;
        s->chunk.n_left -= n;
        if (s->phase == SERVER_IN_CHUNK && (s->flaw == NO_FLAW || s->flaw == TOO_BIG))
                take_text(s, in, n, ret);
        return n;
}

/* Says s->reply. */
static void refuse_chunk(struct server *s) {
        s->phase = SERVER_COMMANDS;
        s->uninvited = A_CHUNK;
        server_say_reply(s);
        if (s->done & SENDER && s->phase != SERVER_CLOSED)
                server_reset(s);
}

bool server_lacks_line_end(const struct server *s) {
        return s->body.is_counted && s->body.state == BODY_IN_LINE;
}

/* The last line has its line end, as it would have after DATA. */
static void end_chunks(struct server *s, struct event *ret) {
        if (s->body.state == BODY_CR)
                s->flaw = BARE_CR;
        if (server_lacks_line_end(s) && s->flaw == NO_FLAW) {
                s->size += 2;
                give(s, "\n", 1, ret);
        }
        end_text(s);
}

void server_end_chunk(struct server *s, struct event *ret) {
        if (s->phase == SERVER_IN_LOST_CHUNK)
                refuse_chunk(s);
        else if (s->chunk.is_last)
                end_chunks(s, ret);
        else if (s->flaw != NO_FLAW) {
                server_blame(s);
                s->refused = REFUSED_MESSAGE;
                refuse_chunk(s);
        } else {
                s->phase = SERVER_COMMANDS;
                server_say(s, 250, "2.0.0", "chunk received");
        }
}
