/* SPDX-License-Identifier: MIT */
/* fuzz/world_server.c - what a server of the world hears, and what it says. RFC 5321, RFC 2033. */
#include "world_server.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINES_MAX = 512 };

/* --- what a server hears ---------------------------------------------------------------------- */

static struct question *ask(struct server_end *s, enum command command, const char *argument,
                            size_t n) {
        struct question *q;

        s->questions = realloc(s->questions, (s->n_questions + 1) * sizeof(*s->questions));
        q = s->questions + s->n_questions++;
        *q = (struct question) { .command = command };
        text_add(&q->argument, argument, n);
        return q;
}

static void forget_question(struct server_end *s) {
        text_clear(&s->questions[0].argument);
        memmove(s->questions, s->questions + 1, --s->n_questions * sizeof(*s->questions));
}

static void forget_transaction(struct server_end *s) {
        text_clear(&s->sender);
        text_clear(&s->recipients);
        s->n_recipients = 0;
}

void world_server_begin(struct server_end *s) {
        ask(s, COMMAND_CONNECT, "", 0);
}

/* The program says only these, and only so. */
static const struct {
        const char *verb;
        enum command command;
        bool has_argument;
} commands[] = {
        { "EHLO ", COMMAND_EHLO, true },
        { "LHLO ", COMMAND_EHLO, true },
        { "HELO ", COMMAND_EHLO, true },
        { "MAIL FROM:<", COMMAND_MAIL, true },
        { "RCPT TO:<", COMMAND_RCPT, true },
        { "DATA", COMMAND_DATA, false },
        { "RSET", COMMAND_RSET, false },
        { "QUIT", COMMAND_QUIT, false },
        { "XCLIENT ADDR=", COMMAND_XCLIENT, true },
};

static void hear_command(struct server_end *s, const char *line, size_t n) {
        for (size_t i = 0; i < n; i++)
                must((unsigned char) line[i] >= ' ' && line[i] != '\x7f');
        for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
                size_t n_verb = strlen(commands[i].verb);

                if (n < n_verb || memcmp(line, commands[i].verb, n_verb) != 0)
                        continue;
                must((n > n_verb) == commands[i].has_argument);
                must(s->n_questions == 0 || commands[i].command == COMMAND_RCPT ||
                     commands[i].command == COMMAND_MAIL ||
                     commands[i].command == COMMAND_QUIT); /* pipelined, or the last word */
                ask(s, commands[i].command, line + n_verb, n - n_verb);
                return;
        }
        must(false && "a command that we know");
}

static void hear_dot(struct server_end *s, const char *content, size_t n) {
        struct handover *h;

        world.handovers =
                realloc(world.handovers, (world.n_handovers + 1) * sizeof(*world.handovers));
        s->handover = (long) world.n_handovers;
        h = world.handovers + world.n_handovers++;
        *h = (struct handover) { .is_lmtp = s->is_lmtp, .n_recipients = s->n_recipients };
        text_add(&h->sender, s->sender.data, s->sender.n);
        text_add(&h->recipients, s->recipients.data, s->recipients.n);
        for (const char *line = content; line < content + n;) {
                const char *cr = memchr(line, '\r', (size_t) (content + n - line));

                line += *line == '.';
                text_add(&h->content, line, (size_t) (cr - line));
                text_add(&h->content, "\n", 1);
                line = cr + 2;
        }
        s->n_owed = s->is_lmtp ? s->n_recipients : 1;
        for (unsigned i = 0; i < s->n_owed; i++)
                ask(s, COMMAND_DOT, "", 0);
        forget_transaction(s);
        s->in_content = false;
}

/* A line of what was heard, without its CRLF, which is the only thing that ends one. */
static bool next_line(const struct server_end *s, size_t at, size_t *ret_n) {
        const char *line = s->heard.data + at,
                   *end = at < s->heard.n ? memchr(line, '\n', s->heard.n - at) : NULL;
        const char *cr = at < s->heard.n ? memchr(line, '\r', s->heard.n - at) : NULL;

        if (!end)
                return false; /* a CR may be the last octet so far */
        must(cr == end - 1);
        *ret_n = (size_t) (cr - line);
        return true;
}

static void server_understands(struct server_end *s) {
        size_t at = 0, content = 0, n;

        while (next_line(s, at, &n)) {
                const char *line = s->heard.data + at;

                must(!memchr(line, '\0', n));
                at += n + 2;
                if (!s->in_content)
                        hear_command(s, line, n);
                else if (n == 1 && *line == '.')
                        hear_dot(s, s->heard.data + content,
                                 (size_t) (line - s->heard.data) - content);
                else
                        continue;
                content = at;
        }
        memmove(s->heard.data, s->heard.data + content, s->heard.n - content);
        s->heard.n -= content;
}

void world_server_listen(struct server_end *s) {
        size_t n = s->heard.n;

        if (s->ours < 0)
                return;
        if (!world_receive(s->ours, &s->heard)) {
                close(s->ours);
                s->ours = -1;
        }
        if (s->heard.n > n)
                server_understands(s);
}

/* --- what a server says ----------------------------------------------------------------------- */

/* Octets of a path that began with "<", up to its ">". */
static size_t path_length(const struct text *argument) {
        bool is_quoted = false;
        size_t i = 0;

        for (; i < argument->n && (is_quoted || argument->data[i] != '>'); i++) {
                is_quoted ^= argument->data[i] == '"';
                i += argument->data[i] == '\\';
        }
        must(i < argument->n && argument->data[i] == '>');
        return i;
}

/* A whole reply was said: what it means. */
static void replied(struct server_end *s, int code) {
        struct question *q = s->questions;
        struct handover *h = s->handover >= 0 ? world.handovers + s->handover : NULL;
        bool is_positive = code / 100 == 2;

        if (s->n_questions == 0)
                return; /* nobody asked */
        if (q->command == COMMAND_DOT && h && h->n_codes < VERDICTS_MAX)
                h->codes[h->n_codes++] = (short) code;
        if (q->command == COMMAND_MAIL) {
                forget_transaction(s);
                if (is_positive)
                        text_add(&s->sender, q->argument.data, path_length(&q->argument));
        }
        if (q->command == COMMAND_RCPT && is_positive) {
                text_add(&s->recipients, q->argument.data, path_length(&q->argument));
                text_add(&s->recipients, "\n", 1);
                s->n_recipients++;
        }
        if (q->command == COMMAND_DATA)
                s->in_content = code == 354;
        forget_question(s);
}

/* A line of a reply, without its LF. */
static void replied_line(struct server_end *s, const char *line, size_t n) {
        int code;

        if (n > 0 && line[n - 1] == '\r')
                n--;
        if (n < 3 || memchr(line, '\0', n) || strspn(line, "0123456789") < 3 || *line < '2' ||
            *line > '5' || (n > 3 && line[3] != ' ' && line[3] != '-') ||
            ++s->n_lines > LINES_MAX) {
                s->is_nonsense = true;
                return;
        }
        code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + line[2] - '0';
        s->is_nonsense |= s->code != 0 && s->code != code;
        s->code = code;
        if (s->is_nonsense || (n > 3 && line[3] == '-'))
                return;
        s->code = 0;
        s->n_lines = 0;
        replied(s, code);
}

static void server_says(struct server_end *s, const char *text, size_t n) {
        char *lf;

        world_send(s->ours, text, n);
        text_add(&s->reply, text, n);
        while (s->reply.n > 0 && !s->is_nonsense &&
               (lf = memchr(s->reply.data, '\n', s->reply.n))) {
                size_t n_line = (size_t) (lf - s->reply.data);

                replied_line(s, s->reply.data, n_line);
                memmove(s->reply.data, lf + 1, s->reply.n - n_line - 1);
                s->reply.n -= n_line + 1;
        }
}

static void friendly_ehlo(struct server_end *s) {
        static const char *const lines[] = { "SIZE 100000",
                                             "8BITMIME",
                                             "SMTPUTF8",
                                             "PIPELINING",
                                             "XCLIENT NAME ADDR PORT HELO",
                                             "SIZE 60",
                                             "SIZE",
                                             "X \x80\x01\r\n250-DSN\r\n250-LIMITS RCPTMAX=2" };
        char reply[400] = "250-mail.example.org\r\n";

        for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
                if (s->extensions & 1U << i)
                        strcat(strcat(strcat(reply, "250-"), lines[i]), "\r\n");
        strcat(reply, "250 HELP\r\n");
        server_says(s, reply, strlen(reply));
}

static const char *friendly_answer(const struct server_end *s, const struct question *q) {
        switch (q->command) {
        case COMMAND_CONNECT: return "220 mail.example.org\r\n";
        case COMMAND_XCLIENT: return "220 mail.example.org\r\n";
        case COMMAND_RCPT: /* Mailman knows lists */
                return !s->is_mailman || strstr(q->argument.data, "list") ? "250 2.1.5 OK\r\n"
                                                                          : "550 5.1.1 no list\r\n";
        case COMMAND_DATA:
                return s->n_recipients > 0 ? "354 go\r\n" : "554 5.5.1 no recipients\r\n";
        case COMMAND_QUIT: return "221 2.0.0 bye\r\n";
        default: return "250 2.0.0 OK\r\n";
        }
}

static void server_answers(struct server_end *s) {
        for (size_t n = s->n_questions; n > 0 && s->n_questions > 0; n--)
                if (s->questions[0].command == COMMAND_EHLO)
                        friendly_ehlo(s);
                else {
                        const char *answer = friendly_answer(s, s->questions);

                        server_says(s, answer, strlen(answer));
                }
}

bool world_server_move(struct server_end *s) {
        size_t n_questions;
        struct piece p;

        world_server_listen(s);
        n_questions = s->n_questions;
        if (s->is_silent || s->is_gone)
                return s->is_gone;
        if (!world_next_of_server(&p)) {
                server_answers(s);
                return n_questions > 0;
        }
        world_take_of_server(&p);
        if (p.n > 0)
                server_says(s, p.text, p.n);
        else if (p.kind == SERVER_SAYS || p.kind == SERVER_EARLY)
                server_answers(s);
        s->is_silent = p.kind == SERVER_SILENCE;
        s->is_gone = p.kind == SERVER_LAST;
        if (s->is_gone)
                shutdown(s->ours, SHUT_WR);
        return p.n > 0 || s->is_gone || (n_questions > 0 && !s->is_silent);
}

void world_server_interrupt(struct server_end *s) {
        struct piece p;

        if (s->is_silent || s->is_gone || !world_next_of_server(&p) || p.kind != SERVER_EARLY)
                return;
        world_server_listen(s);
        world_take_of_server(&p);
        server_says(s, p.text, p.n);
}

void world_server_forget(struct server_end *s) {
        must(s->ours < 0); /* the program has closed its end */
        while (s->n_questions > 0)
                forget_question(s);
        free(s->questions);
        text_clear(&s->heard);
        text_clear(&s->reply);
        forget_transaction(s);
}
