/* deliver/client.c - an SMTP or LMTP client. RFC 5321 sections 3.1 (greeting), 3.2 (EHLO, HELO), 3.3 (transaction). */
#include "deliver/client.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "io/connect.h"
#include "io/deadline.h"
#include "io/fd.h"

/* A path, parameters, and what is between them; what a server has to take (RFC 5321 section 4.5.3.1.4) is less. */
enum { COMMAND_LINE_MAX = ADDRESS_MAX + OPTIONS_MAX + 4 * 255 + 200 };

/* --- the connection -------------------------------------------------------------------------------------- */

void client_abort(struct client *c) {
        if (c->is_open)
                close(c->channel.in);
        c->is_open = false;
}

/* There is no reply to go by: the connection is of no more use. */
static int give_up(struct client *c, int error, const char *step) {
        const char *what = error == -EPROTO      ? "the answer is no SMTP"
                           : error == -EBADMSG   ? "it answered before it was asked"
                           : error == -ENOTCONN  ? "it closed the connection"
                           : error == -ETIMEDOUT ? "no answer in time"
                                                 : strerrordesc_np(-error);

        snprintf(c->why, sizeof(c->why), "%s: %s", step, what ? what : "unknown error");
        client_abort(c);
        return error;
}

/* Reads one reply within `timeout` seconds, however slowly it drips. */
static int read_reply(struct client *c, uint64_t timeout, const char *step, struct reply *ret) {
        struct reply_parser parser = { 0 };
        enum reply_status status = REPLY_MORE;

        c->channel.timeout = timeout;
        c->channel.deadline = deadline_after(timeout);
        while (status == REPLY_MORE) {
                size_t used;

                if (c->n_in == 0) {
                        char *in;
                        int64_t n = channel_read(&c->channel, &in);

                        if (n <= 0)
                                return give_up(c, n == 0 ? -ENOTCONN : n == -ETIME ? -ETIMEDOUT : (int) n, step);
                        c->in = in;
                        c->n_in = (size_t) n;
                }
                status = reply_parse(&parser, c->in, c->n_in, &used);
                c->in += used;
                c->n_in -= used;
        }
        if (status == REPLY_BAD)
                return give_up(c, -EPROTO, step);
        *ret = parser.reply;
        return 0;
}

int client_look(struct client *c) {
        struct reply unasked;
        int r;

        if (!c->is_open)
                return -ENOTCONN;
        if (c->n_in == 0 && !channel_has_input(&c->channel))
                return 0;
        r = read_reply(c, 1, "while we were silent", &unasked);
        if (r < 0)
                return r == -EPROTO ? -EBADMSG : -ENOTCONN;
        return give_up(c, unasked.code == 421 ? -ENOTCONN : -EBADMSG, "while we were silent");
}

__attribute__((format(printf, 2, 3))) static void queue(struct client *c, const char *format, ...) {
        char line[COMMAND_LINE_MAX];
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(line, sizeof(line) - 2, format, ap);
        va_end(ap);
        memcpy(line + n, "\r\n", 2);
        channel_write(&c->channel, line, (size_t) n + 2); /* a failure shows in the next read */
}

/* A server that closes says 421, or nothing. */
int client_get(struct client *c, const char *step, struct reply *ret) {
        int r = read_reply(c, c->rules->timeout, step, ret);

        return r == 0 && ret->code == 421 ? give_up(c, -ENOTCONN, step) : r;
}

/* --- the greeting ------------------------------------------------------------------------------------------ */

static bool is_word(const char *line, size_t n, const char *word) {
        size_t length = strlen(word);

        return n >= length && strncasecmp(line, word, length) == 0 && (n == length || line[length] == ' ');
}

/* One line of the EHLO reply. */
static void take_extension(struct client *c, const char *line, size_t n) {
        static const struct {
                const char *keyword;
                enum extension extension;
        } extensions[] = {
                { "SIZE", EXTENSION_SIZE }, { "8BITMIME", EXTENSION_8BITMIME }, { "SMTPUTF8", EXTENSION_SMTPUTF8 }
        };

        for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++)
                if (is_word(line, n, extensions[i].keyword))
                        c->extensions |= extensions[i].extension;
        if (is_word(line, n, "SIZE"))
                c->max_size = strtoumax(line + strlen("SIZE"), NULL, 10);
        c->is_pipelined |= is_word(line, n, "PIPELINING");
        c->has_xclient |= is_word(line, n, "XCLIENT");
}

static void take_extensions(struct client *c, const struct reply *r) {
        const char *line = strchr(r->text, '\n'); /* the first names the server */

        c->extensions = 0;
        c->max_size = 0;
        c->is_pipelined = c->has_xclient = false;
        while (line) {
                size_t n = strcspn(++line, "\n");

                take_extension(c, line, n);
                line = line[n] ? line + n : NULL;
        }
}

static int refused(struct client *c, const char *step, const struct reply *r) {
        snprintf(c->why, sizeof(c->why), "%s: %d %.80s", step, r->code, r->text);
        client_abort(c);
        return -ECONNREFUSED;
}

/* EHLO, or HELO for those who do not know it, or LHLO. */
static int introduce(struct client *c) {
        const char *verb = c->rules->is_lmtp ? "LHLO" : "EHLO";
        struct reply reply;
        int r;

        queue(c, "%s %s", verb, c->rules->hostname);
        r = client_get(c, verb, &reply);
        if (r == 0 && reply_is_positive(&reply))
                take_extensions(c, &reply);
        else if (r == 0 && reply_is_permanent(&reply) && !c->rules->is_lmtp) {
                verb = "HELO";
                queue(c, "%s %s", verb, c->rules->hostname);
                r = client_get(c, verb, &reply);
        }
        return r < 0 ? r : reply_is_positive(&reply) ? 0 : refused(c, verb, &reply);
}

/* xtext, RFC 3461 section 4: what is no graphic ASCII, and "+" and "=", as +HH. */
static void make_xtext(const char *s, char *out, size_t room) {
        for (; *s && room > 4; s++, room -= strlen(out), out += strlen(out))
                if (*s > ' ' && *s <= '~' && *s != '+' && *s != '=')
                        snprintf(out, room, "%c", *s);
                else
                        snprintf(out, room, "+%02X", (unsigned char) *s);
        *out = '\0';
}

/* Tells the server who our client is. The session begins again after that. */
static int send_xclient(struct client *c) {
        const struct peer *p = c->rules->peer;
        char helo[4 * 255 + 1];
        struct reply reply;
        int r;

        make_xtext(c->rules->peer_helo, helo, sizeof(helo));
        queue(c, "XCLIENT ADDR=%s%s%s%s%s%s", strchr(p->address, ':') ? "IPV6:" : "", p->address, *p->port ? " PORT=" : "",
              p->port, *helo ? " HELO=" : "", helo);
        r = client_get(c, "XCLIENT", &reply);
        if (r < 0)
                return r;
        return reply.code == 220 ? introduce(c) : refused(c, "XCLIENT", &reply);
}

int client_open(struct client *c, const char *endpoint, const char *port, const struct client_rules *rules) {
        uint64_t timeout = rules->timeout < CLIENT_CONNECT_SECONDS ? rules->timeout : CLIENT_CONNECT_SECONDS;
        const char *why;
        struct reply reply;
        int fd = connect_to(endpoint, port, timeout, &why), r;

        c->rules = rules;
        snprintf(c->endpoint, sizeof(c->endpoint), "%s", endpoint);
        if (fd < 0) {
                snprintf(c->why, sizeof(c->why), "connect: %s", why);
                return fd;
        }
        channel_init(&c->channel, fd, fd, -1);
        c->n_in = 0;
        c->is_open = true;
        r = client_get(c, "greeting", &reply);
        if (r == 0 && reply.code != 220)
                r = refused(c, "greeting", &reply);
        if (r == 0)
                r = introduce(c);
        if (r == 0 && c->has_xclient && rules->peer)
                r = send_xclient(c);
        return r;
}

/* --- a transaction ----------------------------------------------------------------------------------------- */

void client_put_mail(struct client *c, const struct sender *s) {
        char size[32] = "";

        if (s->size > 0 && c->extensions & EXTENSION_SIZE)
                snprintf(size, sizeof(size), " SIZE=%" PRIu64, s->size);
        queue(c, "MAIL FROM:<%s>%s%s%s", s->address.text, size,
              s->is_8bit && c->extensions & EXTENSION_8BITMIME ? " BODY=8BITMIME" : "",
              s->is_smtputf8 && c->extensions & EXTENSION_SMTPUTF8 ? " SMTPUTF8" : "");
}

void client_put_rcpt(struct client *c, const struct recipient *r) {
        queue(c, "RCPT TO:<%s>", r->address.text);
}

void client_put_rset(struct client *c) {
        queue(c, "RSET");
}

int client_data(struct client *c, struct reply *ret) {
        int r = client_look(c);

        if (r < 0)
                return r;
        queue(c, "DATA");
        c->body = (struct body_encoder) { 0 };
        return client_get(c, "DATA", ret);
}

/* Octets as they are, around the channel's buffer. */
static int send_octets(struct client *c, const char *data, size_t n) {
        int r = fd_write_all(c->channel.out, -1, data, n, deadline_after(c->rules->timeout));

        return r < 0 ? give_up(c, r, "message") : 0;
}

int client_send(struct client *c, const char *text, size_t n) {
        static char wire[64 * 1024];

        while (n > 0) {
                size_t used, n_wire = body_encode(&c->body, text, n, &used, wire, sizeof(wire));
                int r;

                if ((r = client_look(c)) < 0 || (r = send_octets(c, wire, n_wire)) < 0)
                        return r;
                text += used;
                n -= used;
        }
        return 0;
}

int client_end(struct client *c) {
        const char *end = body_end(&c->body);
        int r = client_look(c);

        return r < 0 ? r : send_octets(c, end, strlen(end));
}

int client_verdict(struct client *c, struct reply *ret) {
        return read_reply(c, c->rules->dot_timeout, "final dot", ret);
}

void client_close(struct client *c) {
        if (!c->is_open)
                return;
        queue(c, "QUIT");
        channel_flush(&c->channel);
        client_abort(c);
}
