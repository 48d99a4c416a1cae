/* SPDX-License-Identifier: MIT */
/* smtp/verb.c - the verb table, and one function for each verb. RFC 5321 sections 4.1.1 (commands)
 * and 4.1.4 (order). */
#include <string.h>

#include "base/array.h"
#include "base/ascii.h"
#include "base/text.h"
#include "smtp/server_internal.h"

static struct command_rules command_rules(const struct server *s) {
        return (struct command_rules) {
                .is_extended = s->is_extended,
                .extensions = s->rules.extensions | (*s->mechanisms ? EXTENSION_AUTH : 0),
                .max_size = s->rules.max_size,
                .is_smtputf8 = s->is_smtputf8,
                .qualify = s->rules.qualify,
                .needs_domain = s->rules.needs_domain,
        };
}

/* --- one function for each verb, given what follows it ---------------------------------------- */

static void greet(struct server *s, const char *name, size_t n, bool is_extended) {
        for (size_t i = 0; i < n; i++)
                if ((unsigned char) name[i] < ' ' || name[i] == '\x7f' || n > HELO_MAX) {
                        server_say(s, 501, "5.5.4", "not a host name");
                        return;
                }
        memcpy(s->hello.name, name, n);
        s->hello.name[n] = '\0';
        s->hello.is_extended = is_extended;
        server_emit(s, SERVER_HELLO);
}

static void do_helo(struct server *s, const char *args, size_t n) {
        greet(s, args, n, false);
}

static void do_ehlo(struct server *s, const char *args, size_t n) {
        greet(s, args, n, true);
}

static void do_starttls(struct server *s, const char *args, size_t n) {
        (void) args, (void) n;
        server_emit(s, SERVER_TLS);
}

static void do_mail(struct server *s, const char *args, size_t n) {
        struct command_rules rules = command_rules(s);

        enum command_status status = command_parse_mail(args, n, &rules, &s->sender, &s->reply);

        if (status == COMMAND_OK)
                server_emit(s, SERVER_SENDER);
        else
                server_refuse(s, status == COMMAND_REFUSED ? REFUSED_SENDER : REFUSED_NOBODY);
}

static void do_rcpt(struct server *s, const char *args, size_t n) {
        struct command_rules rules = command_rules(s);
        bool has_room = s->n_rcpts++ < s->rules.max_recipients;

        enum command_status status = command_parse_rcpt(args, n, &rules, &s->recipient, &s->reply);

        if (status == COMMAND_OK && has_room) {
                server_emit(s, SERVER_RECIPIENT);
                return;
        }
        if (!has_room)
                reply_set(&s->reply, 452, "4.5.3",
                          "too many recipients: send the rest in another message");
        server_refuse(s, status == COMMAND_BAD ? REFUSED_NOBODY : REFUSED_RECIPIENT);
}

static void do_data(struct server *s, const char *args, size_t n) {
        (void) args, (void) n;
        server_emit(s, SERVER_DATA);
}

static void do_rset(struct server *s, const char *args, size_t n) {
        (void) args, (void) n;
        server_say(s, 250, "2.0.0", "OK");
        server_reset(s);
}

static void do_noop(struct server *s, const char *args, size_t n) {
        (void) args, (void) n;
        server_say(s, 250, "2.0.0", "OK");
}

static void do_vrfy(struct server *s, const char *args, size_t n) {
        (void) args, (void) n;
        server_say(s, 252, "2.0.0",
                   "cannot verify it, but will take a message and try to deliver it");
}

static void do_unimplemented(struct server *s, const char *args, size_t n) {
        (void) args, (void) n;
        server_say(s, 502, "5.5.1", "command not implemented");
}

static void do_help(struct server *s, const char *args, size_t n);

static void do_quit(struct server *s, const char *args, size_t n) {
        (void) args, (void) n;
        server_close(s, 221, "2.0.0", "goodbye");
}

/* --- verbs ------------------------------------------------------------------------------------ */

enum { SMTP = 1 << 0, LMTP = 1 << 1, BOTH = SMTP | LMTP };

static const struct verb {
        const char *name;
        unsigned dialects;
        unsigned needs; /* enum precondition, or-ed */
        enum { NO_ARGUMENT, ONE_ARGUMENT, ANY_ARGUMENT } argument;
        enum content content; /* if it is refused, what may follow that is no commands */
        bool may_follow;      /* a refused DATA: no line of a message looks like that */
        bool is_in_clear;     /* allowed before TLS that is required */
        bool is_of_tls;       /* without TLS it is only known to be refused */
        bool is_of_auth;      /* without AUTH likewise */
        bool is_hidden;       /* from HELP: it is only known to be refused */
        const char *syntax;
        void (*run)(struct server *s, const char *args, size_t n);
} verbs[] = {
        { "HELO", SMTP, .may_follow = true, .is_in_clear = true, .argument = ONE_ARGUMENT,
          .syntax = "HELO hostname", .run = do_helo },
        { "EHLO", SMTP, .may_follow = true, .is_in_clear = true, .argument = ONE_ARGUMENT,
          .syntax = "EHLO hostname", .run = do_ehlo },
        { "LHLO", LMTP, .may_follow = true, .is_in_clear = true, .argument = ONE_ARGUMENT,
          .syntax = "LHLO hostname", .run = do_ehlo },
        { "STARTTLS", BOTH, .needs = HELLO | NO_SENDER, .is_in_clear = true, .is_of_tls = true,
          .syntax = "STARTTLS", .run = do_starttls },
        { "AUTH", BOTH, .needs = HELLO | NO_SENDER, .is_of_auth = true, .argument = ONE_ARGUMENT,
          .content = AN_EXCHANGE, .syntax = "AUTH mechanism [initial-response]",
          .run = server_auth_begin },
        { "MAIL", BOTH, .may_follow = true, .needs = HELLO | NO_SENDER, .argument = ANY_ARGUMENT,
          .syntax = "MAIL FROM:<address> [parameters]", .run = do_mail },
        { "RCPT", BOTH, .may_follow = true, .needs = HELLO | SENDER | NO_CHUNK,
          .argument = ANY_ARGUMENT, .syntax = "RCPT TO:<address> [parameters]", .run = do_rcpt },
        { "DATA", BOTH, .needs = HELLO | SENDER | RECIPIENT | NO_CHUNK, .content = A_MESSAGE,
          .syntax = "DATA", .run = do_data },
        { "BDAT", BOTH, .needs = HELLO | SENDER | RECIPIENT, .argument = ANY_ARGUMENT,
          .content = A_CHUNK, .syntax = "BDAT size [LAST]", .run = server_begin_chunk },
        { "RSET", BOTH, .may_follow = true, .is_in_clear = true, .syntax = "RSET", .run = do_rset },
        { "NOOP", BOTH, .may_follow = true, .is_in_clear = true, .argument = ANY_ARGUMENT,
          .syntax = "NOOP", .run = do_noop },
        { "VRFY", BOTH, .argument = ONE_ARGUMENT, .syntax = "VRFY address", .run = do_vrfy },
        { "EXPN", BOTH, .argument = ANY_ARGUMENT, .is_hidden = true, .syntax = "EXPN list",
          .run = do_unimplemented },
        { "HELP", BOTH, .is_in_clear = true, .argument = ANY_ARGUMENT, .syntax = "HELP",
          .run = do_help },
        { "QUIT", BOTH, .may_follow = true, .is_in_clear = true, .syntax = "QUIT", .run = do_quit },
};

static unsigned dialect(const struct server *s) {
        return s->rules.is_lmtp ? LMTP : SMTP;
}

static bool is_shown(const struct server *s, const struct verb *v) {
        return v->dialects & dialect(s) && !v->is_hidden &&
               (!v->is_of_tls || s->rules.tls != SERVER_NO_TLS) &&
               (!v->is_of_auth || s->rules.auth != SERVER_NO_AUTH);
}

static void do_help(struct server *s, const char *args, size_t n) {
        char text[200] = "commands:";

        (void) args, (void) n;
        for (const struct verb *v = verbs; v < verbs + ELEMENTS(verbs); v++)
                if (is_shown(s, v))
                        strcat(strcat(text, " "), v->name);
        server_say(s, 214, "2.0.0", text);
}

static const struct verb *find_verb(const struct server *s, const char *name, size_t n) {
        for (const struct verb *v = verbs; v < verbs + ELEMENTS(verbs); v++)
                if (strlen(v->name) == n && ascii_is_equal(v->name, name, n) &&
                    v->dialects & dialect(s))
                        return v;
        return NULL;
}

/* What a 503 says for the first precondition that is not met; NULL when all are. */
static const char *wrong_order(const struct server *s, const struct verb *v) {
        unsigned missing = v->needs & ~(s->done | (s->done & SENDER ? 0 : NO_SENDER) |
                                        (s->done & CHUNK ? 0 : NO_CHUNK));

        if (v->is_of_tls && s->is_secure)
                return "TLS is already active";
        if (v->is_of_auth && *s->authenticated)
                return "you are already authenticated";
        if (missing & HELLO)
                return s->rules.is_lmtp ? "send LHLO first" : "send HELO or EHLO first";
        if (missing & SENDER)
                return SEND_MAIL_FIRST;
        if (missing & RECIPIENT)
                return "send RCPT first: there is no valid recipient";
        if (missing & NO_SENDER)
                return "a transaction is under way: end it with DATA or RSET first";
        if (missing & NO_CHUNK)
                return "the message has begun: end it with BDAT LAST or RSET first";
        return NULL;
}

/* Says what is wrong with a command; with BDAT, when its chunk is over. `v` is its verb, or NULL.
 * AUTH may be spelt as it is none. */
static void refuse(struct server *s, const struct verb *v, int code, const char *enhanced,
                   const char *text) {
        reply_set(&s->reply, code, enhanced, "%s", text);
        if (server_is_in_chunk(s))
                return;
        server_say_reply(s);
        if (v && v->content != NO_CONTENT)
                s->uninvited = v->content;
        else if (server_is_of_exchange(s))
                s->uninvited = AN_EXCHANGE;
}

/* A sender is refused with it, who has a line in the log. */
static void refuse_in_clear(struct server *s, const struct verb *v, const char *args, size_t n) {
        struct command_rules rules = command_rules(s);

        if (v->run == do_mail &&
            command_parse_mail(args, n, &rules, &s->sender, &s->reply) == COMMAND_OK)
                s->refused = REFUSED_SENDER;
        refuse(s, v, 530, "5.7.0", "must issue a STARTTLS command first");
}

/* TLS that is required is judged before order, and that before syntax (RFC 5321 section 4.1.4). */
static void run_verb(struct server *s, const struct verb *v, const char *args, size_t n) {
        const char *complaint = wrong_order(s, v);
        char text[60];

        s->uninvited = NO_CONTENT;
        if (v->is_of_tls && s->rules.tls == SERVER_NO_TLS)
                refuse(s, v, 502, "5.5.1", "TLS is not available here");
        else if (s->rules.tls == SERVER_TLS_REQUIRED && !s->is_secure && !v->is_in_clear)
                refuse_in_clear(s, v, args, n);
        else if (v->is_of_auth && s->rules.auth == SERVER_NO_AUTH)
                refuse(s, v, 502, "5.5.1", "authentication is not available here");
        else if (complaint)
                refuse(s, v, 503, "5.5.1", complaint);
        else if ((v->argument == NO_ARGUMENT && n > 0) || (v->argument == ONE_ARGUMENT && n == 0)) {
                text_format(text, sizeof(text), "syntax: %s", v->syntax);
                refuse(s, v, 501, "5.5.4", text);
        } else
                v->run(s, args, n);
}

/* --- a command -------------------------------------------------------------------------------- */

/* What a browser, or a program led astray by one, sends first. */
static bool is_http(const char *verb, size_t n) {
        static const char *const methods[] = { "GET",     "HEAD",    "POST",  "PUT",   "DELETE",
                                               "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI" };

        for (size_t i = 0; i < ELEMENTS(methods); i++)
                if (strlen(methods[i]) == n && ascii_is_equal(methods[i], verb, n))
                        return true;
        return false;
}

/* The header of the PROXY protocol: "PROXY TCP4 ..." of version 1; CR LF CR LF NUL CR LF, with
 * which version 2 begins. Nobody told us to believe it, and what comes after it may be somebody
 * else's. */
static bool is_proxy_header(const struct server *s, const char *line, size_t n_verb, size_t n) {
        if (s->n_commands == 1)
                return n_verb == 5 && ascii_is_equal(line, "PROXY", 5);
        return s->n_commands == 3 && s->n_empty == 2 && n == 1 && *line == '\0';
}

static size_t trimmed_length(const char *line, size_t n) {
        while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
                n--;
        return n;
}

bool server_count_command(struct server *s) {
        s->n_commands++;
        if (++s->n_idle_commands <= s->rules.max_commands)
                return true;
        server_close(s, 421, "4.7.0", "too many commands, closing connection");
        return false;
}

/* Whether the line is no command, but what a refused one announced. A message could have any line
 * that is not of these; a response has no blank. */
static bool is_uninvited(const struct server *s, const struct verb *v) {
        if (s->uninvited == NO_CONTENT)
                return false;
        if (!v || s->is_overlong)
                return true;
        /* one chunk comes after the other, in a pipelined group */
        return s->uninvited != AN_EXCHANGE && !v->may_follow &&
               (s->uninvited != A_CHUNK || v->content != A_CHUNK);
}

static void close_for_uninvited(struct server *s) {
        static const char *const complaints[] = {
                [A_MESSAGE] = "the message came although DATA was refused, closing connection",
                [A_CHUNK] = "the message came although BDAT was refused, closing connection",
                [AN_EXCHANGE] = "the exchange went on although AUTH was refused, closing "
                                "connection",
        };

        server_close(s, 554, "5.5.1", complaints[s->uninvited]);
}

/* A whole command, without its line end. */
void verb_run(struct server *s, const char *line, size_t n) {
        const char *blank;
        size_t n_verb, args;
        const struct verb *v;

        n = trimmed_length(line, n);
        blank = memchr(line, ' ', n);
        n_verb = args = blank ? (size_t) (blank - line) : n;
        while (args < n && line[args] == ' ')
                args++;
        v = find_verb(s, line, n_verb);
        server_show(s, v, n);
        s->n_empty += n == 0;
        if (!server_count_command(s))
                return;
        if (server_has_erred(s)) /* by recipients that were refused */
                server_close(s, 421, "4.7.0", "too many errors, closing connection");
        else if (s->n_commands == 1 && is_http(line, n_verb))
                server_close(s, 554, "5.5.1", "this is SMTP, not HTTP");
        else if (is_proxy_header(s, line, n_verb, n))
                server_close(s, 554, "5.5.1", "this is SMTP without the PROXY protocol");
        else if (is_uninvited(s, v))
                close_for_uninvited(s);
        else if (v && v->content == A_CHUNK && !server_announce_chunk(s, line + args, n - args))
                return;
        else if (s->is_overlong)
                refuse(s, v, 500, "5.5.2", "line too long");
        else if (memchr(line, '\0', n))
                refuse(s, v, 500, "5.5.2", "a command cannot have a NUL");
        else if (!v)
                refuse(s, NULL, 500, "5.5.2", "command not recognized");
        else
                run_verb(s, v, line + args, n - args);
}
