/* SPDX-License-Identifier: MIT */
/* deliver/client.c - an SMTP or LMTP client. RFC 5321 section 3.3 (transaction). */
#include "deliver/client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/text.h"
#include "deliver/client_internal.h"
#include "io/deadline.h"
#include "io/fd.h"

/* A path, parameters, and what is between them; what a server has to take (RFC 5321
 * section 4.5.3.1.4) is less. */
enum { COMMAND_LINE_MAX = ADDRESS_MAX + OPTIONS_MAX + 4 * 255 + 200 };

/* --- the connection --------------------------------------------------------------------------- */

void client_abort(struct client *c) {
        if (c->is_open)
                close(c->channel.in);
        c->is_open = c->is_begun = false;
        c->standing = CLIENT_ANONYMOUS;
        c->n_owed = 0;
}

struct patience *client_patience(const struct client *c) {
        return c->rules->downstream->patience;
}

/* `error` is the negative errno of a channel or descriptor; 0 is its end. */
static enum client_result lose(struct client *c, int error, const char *step) {
        const char *what = error == 0 ? "it closed the connection" : strerror(-error);

        if (error == -ETIMEDOUT || error == -ETIME)
                return client_fail(c, CLIENT_SILENT, step, "no answer in time");
        return client_fail(c, CLIENT_LOST, step, what);
}

uint64_t client_seconds(const struct client *c, uint64_t usual) {
        return c->rules->timeout > 0 ? c->rules->timeout : usual;
}

enum client_result client_fill(struct client *c, const char *step) {
        int64_t n;

        if (c->n_in > 0)
                return CLIENT_OK;
        channel_flush(c->rules->downstream); /* if that fails, the session will notice */
        n = channel_read(&c->channel, &c->in);
        if (n <= 0)
                return lose(c, (int) n, step);
        c->n_in = (size_t) n;
        return CLIENT_OK;
}

enum client_result client_read(struct client *c, uint64_t timeout, const char *step,
                               struct reply_parser *parser) {
        enum reply_status status = REPLY_MORE;

        if (!c->is_open) /* since a command was put */
                return CLIENT_LOST;
        c->channel.timeout = timeout;
        c->channel.deadline = deadline_after(timeout);
        while (status == REPLY_MORE) {
                enum client_result r = client_fill(c, step);
                size_t used;

                if (r != CLIENT_OK)
                        return r;
                status = reply_parse(parser, c->in, c->n_in, &used);
                c->in += used;
                c->n_in -= used;
        }
        parser->reply.by = c->rules->by;
        return status == REPLY_BAD ? client_fail(c, CLIENT_NONSENSE, step, "the reply is not SMTP")
                                   : CLIENT_OK;
}

static enum client_result read_reply(struct client *c, uint64_t timeout, const char *step,
                                     struct reply *ret) {
        struct reply_parser parser = { 0 };
        enum client_result r = client_read(c, timeout, step, &parser);

        *ret = parser.reply;
        return r;
}

enum client_result client_heed_421(struct client *c, enum client_result r, const char *step,
                                   const struct reply *reply) {
        if (r == CLIENT_OK && reply->code == 421)
                return client_refuse(c, CLIENT_LOST, step, reply);
        return r;
}

bool client_is_quiet(const struct client *c) {
        return c->is_open && c->n_owed == 0 && c->n_in == 0 && !channel_has_input(&c->channel);
}

enum client_result client_look(struct client *c) {
        const char *step = "between commands";
        struct reply unasked;
        enum client_result r;

        if (!c->is_open)
                return CLIENT_LOST;
        if (patience_check(client_patience(c)) < 0)
                return client_fail(c, CLIENT_IN_VAIN, "next step", "");
        if (c->n_owed > 0 || client_is_quiet(c))
                return CLIENT_OK;
        r = client_heed_421(c, read_reply(c, 1, step, &unasked), step, &unasked);
        if (r == CLIENT_OK)
                return client_refuse(c, CLIENT_OUT_OF_STEP, step, &unasked);
        if (r == CLIENT_NONSENSE || r == CLIENT_SILENT)
                return client_fail(c, CLIENT_OUT_OF_STEP, step, "unexpected reply");
        return r;
}

void client_say_octets(struct client *c, const char *octets, size_t n) {
        int r;

        c->channel.timeout = client_seconds(c, CLIENT_SECONDS);
        c->channel.deadline = deadline_after(c->channel.timeout);
        if (c->is_open && (r = channel_write(&c->channel, octets, n)) < 0)
                lose(c, r, "command");
}

void client_say(struct client *c, const char *format, ...) {
        char line[COMMAND_LINE_MAX];
        va_list ap;
        size_t n;

        va_start(ap, format);
        n = text_format_list(line, sizeof(line) - 2, format, ap);
        va_end(ap);
        memcpy(line + n, "\r\n", 2);
        client_say_octets(c, line, n + 2);
}

enum client_result client_get(struct client *c, const char *step, struct reply *ret) {
        enum client_result r = read_reply(c, client_seconds(c, CLIENT_SECONDS), step, ret);

        c->n_owed -= c->n_owed > 0;
        return client_heed_421(c, r, step, ret);
}

/* --- a transaction ---------------------------------------------------------------------------- */

/* Adds a parameter as our client gave it, if it did. */
static void add_given(char parameters[static OPTIONS_MAX + 2], const char *options,
                      const char *keyword) {
        size_t n_before = strlen(parameters), n;
        const char *given = command_find_option(options, keyword, &n);

        if (given)
                text_format(parameters + n_before, OPTIONS_MAX + 2 - n_before, " %.*s", (int) n,
                            given);
}

bool client_has_room(const struct client *c) {
        return c->max_mails == 0 || c->n_mails < c->max_mails;
}

/* AUTH is an address that somebody else vouches for (RFC 4954 section 5). */
void client_put_mail(struct client *c, const struct sender *s) {
        char size[32] = "", given[OPTIONS_MAX + 2] = "";

        if (s->size > 0 && c->has_size)
                text_format(size, sizeof(size), " SIZE=%llu", (unsigned long long) s->size);
        if (c->standing == CLIENT_AUTHENTICATED)
                add_given(given, s->options, "AUTH");
        if (c->extensions & EXTENSION_DSN) {
                add_given(given, s->options, "RET");
                add_given(given, s->options, "ENVID");
        }
        c->n_mails++;
        c->n_rcpts = 0;
        c->n_owed++;
        client_say(c, "MAIL FROM:<%s>%s%s%s%s", s->address.text, size,
                   s->is_8bit && c->extensions & EXTENSION_8BITMIME ? " BODY=8BITMIME" : "",
                   s->is_smtputf8 && c->extensions & EXTENSION_SMTPUTF8 ? " SMTPUTF8" : "", given);
}

void client_put_rcpt(struct client *c, const struct recipient *r) {
        char given[OPTIONS_MAX + 2] = "";

        if (c->extensions & EXTENSION_DSN) {
                add_given(given, r->options, "NOTIFY");
                add_given(given, r->options, "ORCPT");
        }
        c->n_rcpts++;
        c->n_owed++;
        client_say(c, "RCPT TO:<%s>%s", r->address.text, given);
}

void client_put_rset(struct client *c) {
        c->n_owed++;
        client_say(c, "RSET");
}

enum client_result client_data(struct client *c, struct reply *ret) {
        enum client_result r = client_look(c);

        if (r != CLIENT_OK)
                return r;
        client_say(c, "DATA");
        c->body = (struct body_encoder) { 0 };
        return client_get(c, "DATA", ret);
}

/* A server that does not take them may have said why. */
enum client_result client_send_octets(struct client *c, const char *data, size_t n) {
        int r = fd_write(c->channel.out, client_patience(c), &data, &n,
                         deadline_after(client_seconds(c, CLIENT_SECONDS)));

        if (r == 0)
                return CLIENT_OK;
        return client_look(c) != CLIENT_OK && c->said.code > 0 ? c->failure : lose(c, r, "message");
}

enum client_result client_send(struct client *c, const char *text, size_t n) {
        static char wire[32 * 1024];

        while (n > 0) {
                size_t used, n_wire = body_encode(&c->body, text, n, &used, wire, sizeof(wire));
                enum client_result r = client_look(c);

                if (r == CLIENT_OK)
                        r = client_send_octets(c, wire, n_wire);
                if (r != CLIENT_OK)
                        return r;
                text += used;
                n -= used;
        }
        return CLIENT_OK;
}

enum client_result client_end(struct client *c) {
        const char *end = body_end(&c->body);

        client_patience(c)->stage = PATIENCE_GIVEN;
        return client_send_octets(c, end, strlen(end));
}

enum client_result client_verdict(struct client *c, struct reply *ret) {
        return read_reply(c, client_seconds(c, CLIENT_DOT_SECONDS), "final dot", ret);
}

void client_close(struct client *c) {
        if (!c->is_open)
                return;
        if (c->n_owed == 0 && c->standing != CLIENT_IN_EXCHANGE) {
                client_say(c, "QUIT");
                channel_flush(&c->channel);
        }
        client_abort(c);
}
