/* deliver/client.c - an SMTP or LMTP client. RFC 5321 sections 3.1 (greeting), 3.2 (EHLO,
 * HELO), 3.3 (transaction). */
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
#include "broker/broker.h"
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

/* The configured seconds, or else the usual ones. */
static uint64_t seconds(const struct client *c, uint64_t usual) {
        return c->rules->timeout > 0 ? c->rules->timeout : usual;
}

/* Reads one reply within `timeout` seconds, however slowly it drips. */
static enum client_result read_lines(struct client *c, uint64_t timeout, const char *step,
                                     struct reply_parser *parser) {
        enum reply_status status = REPLY_MORE;

        if (!c->is_open) /* since a command was put */
                return CLIENT_LOST;
        c->channel.timeout = timeout;
        c->channel.deadline = deadline_after(timeout);
        while (status == REPLY_MORE) {
                size_t used;

                if (c->n_in == 0) {
                        int64_t n;

                        channel_flush(c->rules->downstream); /* if that fails, the session will notice */
                        n = channel_read(&c->channel, &c->in);
                        if (n <= 0)
                                return lose(c, (int) n, step);
                        c->n_in = (size_t) n;
                }
                status = reply_parse(parser, c->in, c->n_in, &used);
                c->in += used;
                c->n_in -= used;
        }
        parser->reply.by = c->rules->by;
        return status == REPLY_BAD ? client_fail(c, CLIENT_NONSENSE, step, "the answer is no SMTP")
                                   : CLIENT_OK;
}

static enum client_result read_reply(struct client *c, uint64_t timeout, const char *step,
                                     struct reply *ret) {
        struct reply_parser parser = { 0 };
        enum client_result r = read_lines(c, timeout, step, &parser);

        *ret = parser.reply;
        return r;
}

/* A server that closes says 421, or nothing. */
static enum client_result heed_421(struct client *c, enum client_result r, const char *step,
                                   const struct reply *reply) {
        if (r == CLIENT_OK && reply->code == 421)
                return client_refuse(c, CLIENT_LOST, step, reply);
        return r;
}

bool client_is_quiet(const struct client *c) {
        return c->is_open && c->n_owed == 0 && c->n_in == 0 && !channel_has_input(&c->channel);
}

enum client_result client_look(struct client *c) {
        const char *step = "while we were silent";
        struct reply unasked;
        enum client_result r;

        if (!c->is_open)
                return CLIENT_LOST;
        if (patience_check(client_patience(c)) < 0)
                return client_fail(c, CLIENT_IN_VAIN, "next step", "");
        if (c->n_owed > 0 || client_is_quiet(c))
                return CLIENT_OK;
        r = heed_421(c, read_reply(c, 1, step, &unasked), step, &unasked);
        if (r == CLIENT_OK || r == CLIENT_NONSENSE || r == CLIENT_SILENT)
                r = client_fail(c, CLIENT_OUT_OF_STEP, step, "it answered before it was asked");
        return r;
}

/* A command. A failure shows in the next read. */
__attribute__((format(printf, 2, 3))) static void queue(struct client *c, const char *format, ...) {
        char line[COMMAND_LINE_MAX];
        va_list ap;
        size_t n;
        int r;

        va_start(ap, format);
        n = text_format_list(line, sizeof(line) - 2, format, ap);
        va_end(ap);
        memcpy(line + n, "\r\n", 2);
        c->channel.timeout = seconds(c, CLIENT_SECONDS);
        c->channel.deadline = deadline_after(c->channel.timeout);
        if (c->is_open && (r = channel_write(&c->channel, line, n + 2)) < 0)
                lose(c, r, "command");
}

enum client_result client_get(struct client *c, const char *step, struct reply *ret) {
        enum client_result r = read_reply(c, seconds(c, CLIENT_SECONDS), step, ret);

        c->n_owed -= c->n_owed > 0;
        return heed_421(c, r, step, ret);
}

/* --- the greeting ----------------------------------------------------------------------------- */

static bool is_word(const char *line, size_t n, const char *word) {
        size_t length = strlen(word);

        return n >= length && ascii_is_equal(line, word, length) &&
               (n == length || line[length] == ' ');
}

static const char *const xclient_attributes[] = { "ADDR", "PORT", "HELO", "NAME" };
enum { XCLIENT_ADDR = 1 << 0, XCLIENT_PORT = 1 << 1, XCLIENT_HELO = 1 << 2, XCLIENT_NAME = 1 << 3 };

/* "XCLIENT NAME ADDR ..." */
static void take_xclient(struct client *c, const char *line, size_t n) {
        for (size_t at = 0; at < n; at++)
                for (size_t i = 0; i < ELEMENTS(xclient_attributes); i++)
                        if (line[at] == ' ' &&
                            is_word(line + at + 1, n - at - 1, xclient_attributes[i]))
                                c->xclient |= 1U << i;
}

/* One line of the EHLO reply. */
static void take_extension(void *client, const char *line, size_t n) {
        static const struct {
                const char *keyword;
                enum extension extension;
        } extensions[] = {
                { "8BITMIME", EXTENSION_8BITMIME },
                { "SMTPUTF8", EXTENSION_SMTPUTF8 },
                { "ENHANCEDSTATUSCODES", EXTENSION_ENHANCEDSTATUSCODES },
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

/* EHLO or LHLO. The first line of the reply names the server, which would have to be called SIZE to
 * be mistaken. */
static enum client_result say_ehlo(struct client *c, const char *verb, const char *name,
                                   struct reply *ret) {
        struct reply_parser parser = { .take = take_extension, .taker = c };
        enum client_result r = client_look(c);

        forget_extensions(c);
        if (r != CLIENT_OK)
                return r;
        queue(c, "%s %s", verb, name);
        r = read_lines(c, seconds(c, CLIENT_SECONDS), verb, &parser);
        *ret = parser.reply;
        if (r == CLIENT_OK && !reply_is_positive(ret))
                forget_extensions(c);
        return heed_421(c, r, verb, ret);
}

/* EHLO, or HELO for those who do not know it, or LHLO, under a name. */
static enum client_result introduce(struct client *c, const char *name) {
        const char *verb = c->rules->is_lmtp ? "LHLO" : "EHLO";
        struct reply reply;
        enum client_result r = say_ehlo(c, verb, name, &reply);

        if (r == CLIENT_OK && reply_is_permanent(&reply) && !c->rules->is_lmtp) {
                verb = "HELO";
                queue(c, "%s %s", verb, name);
                r = client_get(c, verb, &reply);
        }
        if (r == CLIENT_OK && !reply_is_positive(&reply))
                r = client_refuse(c, CLIENT_REFUSED, verb, &reply);
        return r == CLIENT_OK ? client_look(c) : r;
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

/* The client's name for itself, as far as it can be one: what it says there must not be a command
 * or an argument. */
static void make_name(const char *helo, char *out, size_t room) {
        size_t n = 0;

        for (; helo[n] && n + 1 < room; n++)
                out[n] = ascii_is_alnum(helo[n]) || strchr("-._:[]", helo[n]) ? helo[n] : '-';
        out[n] = '\0';
}

/* Tells the server who our client is. The session begins again after that, and what is said in its
 * EHLO counts: so it is said under the client's name. */
static enum client_result send_xclient(struct client *c) {
        const struct peer *p = c->rules->peer;
        bool has_port = *p->port && c->xclient & XCLIENT_PORT,
             has_helo = *c->rules->peer_helo && c->xclient & XCLIENT_HELO;
        char helo[4 * 255 + 1], name[256];
        struct reply reply;
        enum client_result r;

        make_xtext(c->rules->peer_helo, helo, sizeof(helo));
        make_name(c->rules->peer_helo, name, sizeof(name));
        queue(c, "XCLIENT ADDR=%s%s%s%s%s%s%s", strchr(p->address, ':') ? "IPV6:" : "", p->address,
              has_port ? " PORT=" : "", has_port ? p->port : "", has_helo ? " HELO=" : "",
              has_helo ? helo : "",
              c->xclient & XCLIENT_NAME ? " NAME=[UNAVAILABLE]" : ""); /* no look-ups */
        r = client_get(c, "XCLIENT", &reply);
        if (r != CLIENT_OK)
                return r;
        return reply.code == 220 ? introduce(c, *name ? name : c->rules->hostname)
                                 : client_refuse(c, CLIENT_REFUSED, "XCLIENT", &reply);
}

enum client_result client_open(struct client *c, unsigned index, const char *endpoint,
                               const struct client_rules *rules) {
        struct reply reply;
        enum client_result r;
        uint64_t timeout;
        const char *why;
        int fd;

        c->rules = rules;
        timeout = seconds(c, CLIENT_CONNECT_SECONDS);
        c->step = NULL;
        c->said.code = 0;
        if (timeout > CLIENT_CONNECT_SECONDS)
                timeout = CLIENT_CONNECT_SECONDS;
        text_format(c->endpoint, sizeof(c->endpoint), "%s", endpoint);
        fd = broker_connect(index, timeout * 1000, client_patience(c), &why);
        if (fd < 0)
                return client_fail(c, CLIENT_UNREACHABLE, "connect", why);
        channel_init(&c->channel, fd, fd, client_patience(c));
        c->n_in = 0;
        c->is_open = true;
        r = client_get(c, "greeting", &reply);
        if (r == CLIENT_OK && reply.code != 220)
                r = client_refuse(c, CLIENT_REFUSED, "greeting", &reply);
        if (r == CLIENT_OK)
                r = introduce(c, rules->hostname);
        if (r == CLIENT_OK && c->xclient & XCLIENT_ADDR && rules->peer)
                r = send_xclient(c);
        return r;
}

/* --- a transaction ---------------------------------------------------------------------------- */

void client_put_mail(struct client *c, const struct sender *s) {
        char size[32] = "";

        if (s->size > 0 && c->has_size)
                text_format(size, sizeof(size), " SIZE=%llu", (unsigned long long) s->size);
        c->n_owed++;
        queue(c, "MAIL FROM:<%s>%s%s%s", s->address.text, size,
              s->is_8bit && c->extensions & EXTENSION_8BITMIME ? " BODY=8BITMIME" : "",
              s->is_smtputf8 && c->extensions & EXTENSION_SMTPUTF8 ? " SMTPUTF8" : "");
}

void client_put_rcpt(struct client *c, const struct recipient *r) {
        c->n_owed++;
        queue(c, "RCPT TO:<%s>", r->address.text);
}

void client_put_rset(struct client *c) {
        c->n_owed++;
        queue(c, "RSET");
}

enum client_result client_data(struct client *c, struct reply *ret) {
        enum client_result r = client_look(c);

        if (r != CLIENT_OK)
                return r;
        queue(c, "DATA");
        c->body = (struct body_encoder) { 0 };
        return client_get(c, "DATA", ret);
}

/* Octets as they are, around the channel's buffer. */
static enum client_result send_octets(struct client *c, const char *data, size_t n) {
        int r = fd_write(c->channel.out, client_patience(c), &data, &n,
                         deadline_after(seconds(c, CLIENT_SECONDS)));

        return r < 0 ? lose(c, r, "message") : CLIENT_OK;
}

enum client_result client_send(struct client *c, const char *text, size_t n) {
        static char wire[32 * 1024];

        while (n > 0) {
                size_t used, n_wire = body_encode(&c->body, text, n, &used, wire, sizeof(wire));
                enum client_result r = client_look(c);

                if (r == CLIENT_OK)
                        r = send_octets(c, wire, n_wire);
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
        return send_octets(c, end, strlen(end));
}

enum client_result client_verdict(struct client *c, struct reply *ret) {
        return read_reply(c, seconds(c, CLIENT_DOT_SECONDS), "final dot", ret);
}

void client_close(struct client *c) {
        if (!c->is_open)
                return;
        if (c->n_owed == 0) {
                queue(c, "QUIT");
                channel_flush(&c->channel);
        }
        client_abort(c);
}
