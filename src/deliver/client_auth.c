/* SPDX-License-Identifier: MIT */
/* deliver/client_auth.c - an exchange of AUTH that a client of ours has with a server. RFC 4954
 * section 4.
 *
 * Its lines are passed on one by one, as they are. What our client says in them is a secret, and is
 * not kept.
 */
#include <string.h>

#include "deliver/client.h"
#include "deliver/client_internal.h"
#include "io/deadline.h"

static enum client_result say_secret(struct client *c, const char *line, size_t n) {
        char wire[AUTH_LINE_MAX];
        enum client_result r;

        memcpy(wire, line, n);
        memcpy(wire + n, "\r\n", 2);
        r = client_send_octets(c, wire, n + 2);
        explicit_bzero(wire, n + 2);
        return r;
}

static enum client_result fail(struct client *c, enum client_result result, const char *what) {
        return client_fail(c, result, "AUTH", what);
}

/* The first line of the answer, with its LF. */
static enum client_result read_line(struct client *c, struct challenge *ret) {
        for (ret->n = 0;;) {
                enum client_result r = client_fill(c, "AUTH");
                const char *lf = r == CLIENT_OK ? memchr(c->in, '\n', c->n_in) : NULL;
                size_t n = lf ? (size_t) (lf - c->in) + 1 : c->n_in;

                if (r != CLIENT_OK)
                        return r;
                if (n > sizeof(ret->text) - ret->n)
                        return fail(c, CLIENT_NONSENSE, "the challenge is too long");
                memcpy(ret->text + ret->n, c->in, n);
                ret->n += n;
                c->in += n;
                c->n_in -= n;
                if (lf)
                        return CLIENT_OK;
        }
}

static bool is_challenge(const struct challenge *line) {
        return line->n >= 4 && memcmp(line->text, "334", 3) == 0 && strchr(" \r\n", line->text[3]);
}

/* Leaves the text of a line "334 text" only. false if it cannot be said to our client. */
static bool take_challenge(struct challenge *line) {
        size_t n = line->n - 1;

        if (line->text[n - 1] == '\r')
                n--;
        line->n = n > 4 ? n - 4 : 0;
        memmove(line->text, line->text + 4, line->n);
        for (size_t i = 0; i < line->n; i++)
                if (line->text[i] < ' ' || line->text[i] > '~')
                        return false;
        return true;
}

/* Any other answer: its first line is there. */
static enum client_result read_rest(struct client *c, uint64_t timeout,
                                    const struct challenge *first, struct reply *ret) {
        struct reply_parser parser = { 0 };
        size_t used;
        enum reply_status status = reply_parse(&parser, first->text, first->n, &used);
        enum client_result r = CLIENT_OK;

        if (status == REPLY_MORE)
                r = client_read(c, timeout, "AUTH", &parser);
        if (status == REPLY_BAD || (r == CLIENT_OK && parser.reply.code == 334))
                return fail(c, CLIENT_NONSENSE, "the reply is not SMTP");
        *ret = parser.reply;
        ret->by = c->rules->by;
        return client_heed_421(c, r, "AUTH", ret);
}

static enum client_result hear(struct client *c, struct challenge *ret_challenge,
                               struct reply *ret) {
        static const struct fixed_reply go_on = { 334, "", "" };
        uint64_t timeout = client_seconds(c, CLIENT_SECONDS);
        enum client_result r;

        c->channel.timeout = timeout;
        c->channel.deadline = deadline_after(timeout);
        r = read_line(c, ret_challenge);
        if (r != CLIENT_OK)
                return r;
        if (!is_challenge(ret_challenge))
                return read_rest(c, timeout, ret_challenge, ret);
        reply_fix(ret, &go_on);
        return take_challenge(ret_challenge)
                       ? CLIENT_OK
                       : fail(c, CLIENT_NONSENSE, "the challenge is not text");
}

/* One that our client has given up is not over there yet. */
static enum client_result end_transaction(struct client *c) {
        struct reply reply;

        if (!c->is_begun)
                return CLIENT_OK;
        client_put_rset(c);
        c->is_begun = false;
        return client_get(c, "RSET", &reply);
}

enum client_result client_exchange(struct client *c, const char *line, size_t n,
                                   struct challenge *ret_challenge, struct reply *ret) {
        bool is_end = n == 1 && *line == '*';
        enum client_result r = client_look(c);

        if (r == CLIENT_OK)
                r = end_transaction(c);
        if (r == CLIENT_OK)
                r = say_secret(c, line, n);
        if (r == CLIENT_OK)
                r = hear(c, ret_challenge, ret);
        if (r != CLIENT_OK)
                return r;
        if (ret->code < 400 && ret->code != 235 && (ret->code != 334 || is_end))
                return fail(c, CLIENT_OUT_OF_STEP, "this reply does not fit the command");
        c->standing = ret->code == 334   ? CLIENT_IN_EXCHANGE
                      : ret->code == 235 ? CLIENT_AUTHENTICATED
                                         : CLIENT_ANONYMOUS;
        return CLIENT_OK;
}
