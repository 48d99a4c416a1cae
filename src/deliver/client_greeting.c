/* SPDX-License-Identifier: MIT */
/* deliver/client_greeting.c - how a connection with a server begins, and what the server offers.
 * RFC 5321 sections 3.1 (greeting) and 3.2 (EHLO, HELO); Postfix's XCLIENT. */
#include <string.h>

#include "base/array.h"
#include "base/ascii.h"
#include "base/text.h"
#include "broker/broker.h"
#include "deliver/client.h"
#include "deliver/client_internal.h"

enum { PROLOGUE_MORE_SECONDS = 2 };

/* --- what is offered -------------------------------------------------------------------------- */

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

/* "AUTH PLAIN LOGIN ..." */
static void take_auth(struct client *c, const char *line, size_t n) {
        size_t n_verb = strlen("AUTH ");

        if (n > n_verb)
                text_format(c->auth, sizeof(c->auth), "%.*s", (int) (n - n_verb), line + n_verb);
}

/* " name=number", a number of at most six digits. 0: there is none. */
static uint64_t find_limit(const char *line, size_t n, const char *word) {
        size_t n_word = strlen(word), n_digits = 0;
        uint64_t limit = 0;

        for (size_t at = 0; at + n_word < n; at++) {
                const char *digits = line + at + n_word;

                if (!ascii_is_equal(line + at, word, n_word))
                        continue;
                while (at + n_word + n_digits < n && ascii_is_digit(digits[n_digits]))
                        n_digits++;
                if (n_digits > 0 && n_digits <= 6 &&
                    (at + n_word + n_digits == n || digits[n_digits] == ' '))
                        ascii_read_number(digits, &limit);
                break;
        }
        return limit;
}

/* "LIMITS MAILMAX=number RCPTMAX=number ..." (RFC 9422) */
static void take_limits(struct client *c, const char *line, size_t n) {
        c->max_mails = find_limit(line, n, " MAILMAX=");
        c->max_rcpts = find_limit(line, n, " RCPTMAX=");
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
                { "DSN", EXTENSION_DSN },
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
        if (is_word(line, n, "AUTH"))
                take_auth(c, line, n);
        if (is_word(line, n, "LIMITS"))
                take_limits(c, line, n);
        c->has_size |= is_word(line, n, "SIZE");
        c->has_starttls |= is_word(line, n, "STARTTLS");
        c->is_pipelined |= is_word(line, n, "PIPELINING");
}

static void forget_extensions(struct client *c) {
        c->extensions = c->xclient = 0;
        c->max_size = c->max_mails = c->max_rcpts = 0;
        c->has_size = c->has_starttls = c->is_pipelined = false;
        c->auth[0] = '\0';
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
        client_say(c, "%s %s", verb, name);
        r = client_read(c, client_seconds(c, CLIENT_SECONDS), verb, &parser);
        *ret = parser.reply;
        if (r == CLIENT_OK && !reply_is_positive(ret))
                forget_extensions(c);
        return client_heed_421(c, r, verb, ret);
}

/* HELO is for those who do not know EHLO. */
enum client_result client_introduce(struct client *c, const char *name) {
        const char *verb = c->rules->is_lmtp ? "LHLO" : "EHLO";
        struct reply reply;
        enum client_result r = say_ehlo(c, verb, name, &reply);

        if (r == CLIENT_OK && reply_is_permanent(&reply) && !c->rules->is_lmtp) {
                verb = "HELO";
                client_say(c, "%s %s", verb, name);
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
        client_say(c, "XCLIENT ADDR=%s%s%s%s%s%s%s", strchr(p->address, ':') ? "IPV6:" : "",
                   peer_is_unknown(p) ? "[UNAVAILABLE]" : p->address, has_port ? " PORT=" : "",
                   has_port ? p->port : "", has_helo ? " HELO=" : "", has_helo ? helo : "",
                   c->xclient & XCLIENT_NAME ? " NAME=[UNAVAILABLE]" : ""); /* no look-ups */
        r = client_get(c, "XCLIENT", &reply);
        if (r != CLIENT_OK)
                return r;
        return reply.code == 220 ? client_introduce(c, *name ? name : c->rules->hostname)
                                 : client_refuse(c, CLIENT_REFUSED, "XCLIENT", &reply);
}

/* --- the connection --------------------------------------------------------------------------- */

void client_begin(struct client *c, const char *endpoint, const struct client_rules *rules) {
        c->rules = rules;
        c->step = NULL;
        c->said.code = 0;
        c->failure = CLIENT_OK;
        c->prologue = (struct prologue_result) { 0 };
        text_format(c->endpoint, sizeof(c->endpoint), "%s", endpoint);
}

void client_take(struct client *c, int fd) {
        channel_init(&c->channel, fd, fd, client_patience(c));
        c->n_in = 0;
        c->n_mails = 0;
        c->is_open = true;
}

enum client_result client_greet(struct client *c) {
        struct reply reply;
        enum client_result r = client_get(c, "greeting", &reply);

        if (r == CLIENT_OK && reply.code != 220)
                r = client_refuse(c, CLIENT_REFUSED, "greeting", &reply);
        return r;
}

/* The server's reply, as far as it is one: whoever says it may have been taken over by the server.
 * false if there is none. */
static bool take_said(const struct client *c, struct reply *ret) {
        const struct reply *said = &c->prologue.said;
        const char *enhanced = said->enhanced;

        if (said->code < 400 || said->code > 599)
                return false;
        if (enhanced[strspn(enhanced, "0123456789.")] != '\0')
                enhanced = "";
        reply_set(ret, said->code, enhanced, "%s", said->text);
        ret->by = c->rules->by;
        return true;
}

/* How the prologue failed, which another process says: the end of its patience is not that of ours.
 */
static enum client_result fail_in_prologue(struct client *c) {
        const struct prologue_result *p = &c->prologue;
        enum client_result r = p->failure < CLIENT_IN_VAIN ? p->failure : CLIENT_SILENT;
        struct reply reply;

        return take_said(c, &reply) ? client_refuse(c, r, p->step, &reply)
                                    : client_fail(c, r, p->step, p->why);
}

/* The prologue has the time of a step, and a little more to say which of its own took too long. */
static uint64_t milliseconds_to_open(const struct client *c) {
        uint64_t step = client_seconds(c, CLIENT_SECONDS),
                 usual = client_seconds(c, CLIENT_CONNECT_SECONDS);

        if (usual > CLIENT_CONNECT_SECONDS)
                usual = CLIENT_CONNECT_SECONDS;
        return 1000 * (c->rules->has_prologue ? step + PROLOGUE_MORE_SECONDS : usual);
}

static enum client_result connect_server(struct client *c, unsigned index) {
        const char *why;
        int fd = broker_connect(index, milliseconds_to_open(c), client_patience(c), &c->prologue,
                                &why);

        if (fd < 0 && c->prologue.failure > 0)
                return fail_in_prologue(c);
        if (fd < 0)
                return client_fail(c, CLIENT_UNREACHABLE, "connect", why);
        client_take(c, fd);
        return CLIENT_OK;
}

enum client_result client_open(struct client *c, unsigned index, const char *endpoint,
                               const struct client_rules *rules) {
        enum client_result r;

        client_begin(c, endpoint, rules);
        r = connect_server(c, index);
        if (r == CLIENT_OK && !c->prologue.is_greeted)
                r = client_greet(c);
        if (r == CLIENT_OK)
                r = client_introduce(c, rules->hostname);
        if (r == CLIENT_OK && c->xclient & XCLIENT_ADDR && rules->peer)
                r = send_xclient(c);
        return r;
}
