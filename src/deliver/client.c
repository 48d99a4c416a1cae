/* deliver/client.c - an SMTP or LMTP client. RFC 5321 sections 3.1 (greeting), 3.2 (EHLO, HELO), 3.3 (transaction). */
#include "deliver/client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/ascii.h"
#include "base/text.h"
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
                                                 : strerror(-error);

        text_format(c->why, sizeof(c->why), "%s: %s", step, what ? what : "unknown error");
        client_abort(c);
        return error;
}

/* Reads one reply within `timeout` seconds, however slowly it drips. */
static int read_lines(struct client *c, uint64_t timeout, const char *step, struct reply_parser *parser) {
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
                status = reply_parse(parser, c->in, c->n_in, &used);
                c->in += used;
                c->n_in -= used;
        }
        return status == REPLY_BAD ? give_up(c, -EPROTO, step) : 0;
}

static int read_reply(struct client *c, uint64_t timeout, const char *step, struct reply *ret) {
        struct reply_parser parser = { 0 };
        int r = read_lines(c, timeout, step, &parser);

        *ret = parser.reply;
        return r;
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

/* A command. A failure shows in the next read. */
__attribute__((format(printf, 2, 3))) static void queue(struct client *c, const char *format, ...) {
        char line[COMMAND_LINE_MAX];
        va_list ap;
        size_t n;

        va_start(ap, format);
        n = text_format_list(line, sizeof(line), format, ap);
        va_end(ap);
        channel_write(&c->channel, line, n);
        channel_write(&c->channel, "\r\n", 2);
}

/* A server that closes says 421, or nothing. */
int client_get(struct client *c, const char *step, struct reply *ret) {
        int r = read_reply(c, c->rules->timeout, step, ret);

        return r == 0 && ret->code == 421 ? give_up(c, -ENOTCONN, step) : r;
}

/* --- the greeting ------------------------------------------------------------------------------------------ */

static bool is_word(const char *line, size_t n, const char *word) {
        size_t length = strlen(word);

        return n >= length && ascii_is_equal(line, word, length) && (n == length || line[length] == ' ');
}

static const char *const xclient_attributes[] = { "ADDR", "PORT", "HELO", "NAME" };
enum { XCLIENT_ADDR = 1 << 0, XCLIENT_PORT = 1 << 1, XCLIENT_HELO = 1 << 2, XCLIENT_NAME = 1 << 3 };

/* "XCLIENT NAME ADDR ..." */
static void take_xclient(struct client *c, const char *line, size_t n) {
        for (size_t at = 0; at < n; at++)
                for (size_t i = 0; i < ELEMENTS(xclient_attributes); i++)
                        if (line[at] == ' ' && is_word(line + at + 1, n - at - 1, xclient_attributes[i]))
                                c->xclient |= 1U << i;
}

/* One line of the EHLO reply. */
static void take_extension(void *client, const char *line, size_t n) {
        static const struct {
                const char *keyword;
                enum extension extension;
        } extensions[] = {
                { "8BITMIME", EXTENSION_8BITMIME }, { "SMTPUTF8", EXTENSION_SMTPUTF8 }
        };
        struct client *c = client;
        size_t n_size = strlen("SIZE ");

        for (size_t i = 0; i < ELEMENTS(extensions); i++)
                if (is_word(line, n, extensions[i].keyword))
                        c->extensions |= extensions[i].extension;
        if (is_word(line, n, "SIZE") && n > n_size && ascii_is_digit(line[n_size]))
                ascii_read_number(line + n_size, &c->max_size);
        if (is_word(line, n, "XCLIENT"))
                take_xclient(c, line, n);
        c->has_size |= is_word(line, n, "SIZE");
        c->is_pipelined |= is_word(line, n, "PIPELINING");
}

static void forget_extensions(struct client *c) {
        c->extensions = c->xclient = 0;
        c->max_size = 0;
        c->has_size = c->is_pipelined = false;
}

static int refused(struct client *c, const char *step, const struct reply *r) {
        text_format(c->why, sizeof(c->why), "%s: %u %s", step, (unsigned) r->code, r->text);
        client_abort(c);
        return -ECONNREFUSED;
}

/* EHLO or LHLO. The first line of the reply names the server, which would have to be called SIZE to be mistaken. */
static int say_ehlo(struct client *c, const char *verb, const char *name, struct reply *ret) {
        struct reply_parser parser = { .take = take_extension, .taker = c };
        int r = client_look(c);

        forget_extensions(c);
        if (r < 0)
                return r;
        queue(c, "%s %s", verb, name);
        r = read_lines(c, c->rules->timeout, verb, &parser);
        *ret = parser.reply;
        if (r == 0 && !reply_is_positive(ret))
                forget_extensions(c);
        return r == 0 && ret->code == 421 ? give_up(c, -ENOTCONN, verb) : r;
}

/* EHLO, or HELO for those who do not know it, or LHLO, under a name. */
static int introduce(struct client *c, const char *name) {
        const char *verb = c->rules->is_lmtp ? "LHLO" : "EHLO";
        struct reply reply;
        int r = say_ehlo(c, verb, name, &reply);

        if (r == 0 && reply_is_permanent(&reply) && !c->rules->is_lmtp) {
                verb = "HELO";
                queue(c, "%s %s", verb, name);
                r = client_get(c, verb, &reply);
        }
        if (r == 0 && !reply_is_positive(&reply))
                r = refused(c, verb, &reply);
        return r == 0 ? client_look(c) : r;
}

/* xtext, RFC 3461 section 4: what is no graphic ASCII, and "+" and "=", as +HH. */
static void make_xtext(const char *s, char *out, size_t room) {
        static const char digits[] = "0123456789ABCDEF";
        const char *end = out + room - sizeof("+HH");

        for (; *s && out <= end; s++)
                if (*s > ' ' && *s <= '~' && *s != '+' && *s != '=')
                        *out++ = *s;
                else {
                        *out++ = '+';
                        *out++ = digits[(unsigned char) *s >> 4];
                        *out++ = digits[*s & 15];
                }
        *out = '\0';
}

/* The client's name for itself, as far as it can be one: what it says there must not be a command or an argument. */
static void make_name(const char *helo, char *out, size_t room) {
        size_t n = 0;

        for (; helo[n] && n + 1 < room; n++)
                out[n] = ascii_is_alnum(helo[n]) || strchr("-._:[]", helo[n]) ? helo[n] : '-';
        out[n] = '\0';
}

/* Tells the server who our client is. The session begins again after that, and what is said in its EHLO counts: so it is
 * said under the client's name. */
static int send_xclient(struct client *c) {
        const struct peer *p = c->rules->peer;
        bool has_port = *p->port && c->xclient & XCLIENT_PORT, has_helo = *c->rules->peer_helo && c->xclient & XCLIENT_HELO;
        char helo[4 * 255 + 1], name[256];
        struct reply reply;
        int r;

        make_xtext(c->rules->peer_helo, helo, sizeof(helo));
        make_name(c->rules->peer_helo, name, sizeof(name));
        queue(c, "XCLIENT ADDR=%s%s%s%s%s%s%s", strchr(p->address, ':') ? "IPV6:" : "", p->address,
              has_port ? " PORT=" : "", has_port ? p->port : "", has_helo ? " HELO=" : "", has_helo ? helo : "",
              c->xclient & XCLIENT_NAME ? " NAME=[UNAVAILABLE]" : ""); /* no look-ups */
        r = client_get(c, "XCLIENT", &reply);
        if (r < 0)
                return r;
        return reply.code == 220 ? introduce(c, *name ? name : c->rules->hostname) : refused(c, "XCLIENT", &reply);
}

int client_open(struct client *c, const char *endpoint, const char *port, const struct client_rules *rules) {
        uint64_t timeout = rules->timeout < CLIENT_CONNECT_SECONDS ? rules->timeout : CLIENT_CONNECT_SECONDS;
        const char *why;
        struct reply reply;
        int fd = connect_to(endpoint, port, timeout, &why), r;

        c->rules = rules;
        text_format(c->endpoint, sizeof(c->endpoint), "%s", endpoint);
        if (fd < 0) {
                text_format(c->why, sizeof(c->why), "connect: %s", why);
                return fd;
        }
        channel_init(&c->channel, fd, fd, -1);
        c->n_in = 0;
        c->is_open = true;
        r = client_get(c, "greeting", &reply);
        if (r == 0 && reply.code != 220)
                r = refused(c, "greeting", &reply);
        if (r == 0)
                r = introduce(c, rules->hostname);
        if (r == 0 && c->xclient & XCLIENT_ADDR && rules->peer)
                r = send_xclient(c);
        return r;
}

/* --- a transaction ----------------------------------------------------------------------------------------- */

void client_put_mail(struct client *c, const struct sender *s) {
        char size[32] = "";

        if (s->size > 0 && c->has_size)
                text_format(size, sizeof(size), " SIZE=%llu", (unsigned long long) s->size);
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
        int r = fd_write_all(c->channel.out, data, n, deadline_after(c->rules->timeout));

        return r < 0 ? give_up(c, r, "message") : 0;
}

int client_send(struct client *c, const char *text, size_t n) {
        static char wire[32 * 1024];

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

        return send_octets(c, end, strlen(end));
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
