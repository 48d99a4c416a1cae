/* SPDX-License-Identifier: MIT */
/* fuzz/world.c - all that is outside of a session. RFC 5321, RFC 2033. */
#include "world.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/broker.h"

#define must world_must

int __real_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);

/* Of the sanitizers, where there are any. */
__attribute__((weak)) void __sanitizer_set_report_fd(void *fd);

/* In place of libc's: what assert() has to say must be seen. */
_Noreturn void __assert_fail(const char *what, const char *file, unsigned line,
                             const char *function);

enum {
        SAY_MANY = 0xf9,
        SERVER_EARLY,
        SERVER_SILENCE,
        SERVER_LAST,
        SERVER_SAYS,
        CLIENT_SAYS,
        REPEATED_MAX = 64 * 1024,
        LINES_MAX = 512,
};

/* A server's part of a conversation with the program. */
enum command {
        COMMAND_CONNECT,
        COMMAND_EHLO,
        COMMAND_MAIL,
        COMMAND_RCPT,
        COMMAND_DATA,
        COMMAND_RSET,
        COMMAND_QUIT,
        COMMAND_XCLIENT,
        COMMAND_DOT
};

struct question {
        enum command command;
        struct text argument;
};

struct server_end {
        int ours, theirs;
        bool is_lmtp, is_mailman, is_silent, is_gone, is_nonsense;
        struct text heard; /* and not understood yet */
        bool in_content;
        struct question *questions; /* that were not answered yet */
        size_t n_questions;
        struct text reply; /* the line of a reply that is under way */
        int code;          /* of its lines so far */
        unsigned n_lines;
        bool has_nul;
        struct text sender, recipients; /* of the transaction */
        unsigned n_recipients;
        long handover;   /* whose verdicts are under way, or -1 */
        unsigned n_owed; /* verdicts */
};

/* A piece: who says what. */
struct piece {
        unsigned char kind;
        const char *text;
        size_t n;
};

static struct {
        struct world_rules rules;
        const char *pieces, *end;
        const char *at_client, *at_server; /* next piece to look at */
        int client;                        /* our end */
        bool is_program_over;              /* it has closed, or hung up */
        struct server_end servers[SERVERS_MAX];
        size_t n_servers;
        int err, real_err, stop;
        struct services services;
        bool has_broker;
} w = { .err = -1 };

struct world world;

_Noreturn void world_fail(const char *file, int line, const char *what) {
        const char *err;
        size_t n;

        if (w.err >= 0) {
                n = world_stderr(&err);
                dup2(w.real_err, STDERR_FILENO);
                fprintf(stderr,
                        "--- standard error of the program\n%.*s--- what the client "
                        "heard\n%.*s---\n",
                        (int) n, err, (int) world.client_heard.n,
                        world.client_heard.n ? world.client_heard.data : "");
        }
        fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
        abort();
}

_Noreturn void __assert_fail(const char *what, const char *file, unsigned line,
                             const char *function) {
        (void) function;
        world_fail(file, (int) line, what);
}

/* --- pieces ----------------------------------------------------------------------------------- */

static bool is_mark(char c) {
        return (unsigned char) c >= SAY_MANY && (unsigned char) c <= CLIENT_SAYS;
}

static bool is_clients(unsigned char kind) {
        return kind == CLIENT_SAYS || kind == SAY_MANY;
}

/* The piece at p, or false at the end. */
static bool piece_at(const char *p, struct piece *ret) {
        const char *end = p + 1;

        if (p >= w.end)
                return false;
        while (end < w.end && !is_mark(*end))
                end++;
        *ret = (struct piece) { is_mark(*p) ? (unsigned char) *p : CLIENT_SAYS,
                                is_mark(*p) ? p + 1 : p, 0 };
        ret->n = (size_t) (end - ret->text);
        return true;
}

/* The next one of a client or a server; it is not taken yet. */
static bool next_piece(const char **at, bool of_client, struct piece *ret) {
        while (piece_at(*at, ret)) {
                if (is_clients(ret->kind) == of_client)
                        return true;
                *at = ret->text + ret->n;
        }
        return false;
}

static void send_all(int fd, const char *text, size_t n) {
        while (n > 0) {
                ssize_t k = send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);

                /* there is room for what we say at once */
                must(k > 0 || errno == EPIPE || errno == ECONNRESET);
                if (k <= 0)
                        return;
                text += k;
                n -= (size_t) k;
        }
}

/* --- the client ------------------------------------------------------------------------------- */

/* All at once: a socket has room for some hundred small packets only. */
static void client_says(const char *text, size_t n, size_t times) {
        size_t before = world.client_said.n;

        while (n > 0 && times-- > 0 && world.client_said.n - before + n <= REPEATED_MAX)
                text_add(&world.client_said, text, n);
        if (world.client_said.n > before)
                send_all(w.client, world.client_said.data + before, world.client_said.n - before);
}

/* The program waits for the client. false if nothing will come. */
static bool client_moves(struct pollfd *stop) {
        struct piece p;

        if (next_piece(&w.at_client, true, &p)) {
                w.at_client = p.text + p.n;
                if (p.kind == CLIENT_SAYS)
                        client_says(p.text, p.n, 1);
                else if (p.n > 0)
                        client_says(p.text + 1, p.n - 1, 16 * (size_t) (unsigned char) *p.text);
                return true;
        }
        world_listen();
        world.is_client_over |= !w.is_program_over;
        if (w.rules.ending == ENDING_EOF)
                shutdown(w.client, SHUT_WR);
        else if (w.rules.ending == ENDING_STOP && stop)
                stop->revents = POLLIN;
        return w.rules.ending == ENDING_EOF;
}

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

static bool take(int fd, struct text *into) {
        char buffer[16 * 1024];
        ssize_t n;

        while ((n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
                text_add(into, buffer, (size_t) n);
        return n < 0 && errno == EAGAIN;
}

static void server_listens(struct server_end *s) {
        size_t n = s->heard.n;

        if (s->ours < 0)
                return;
        if (!take(s->ours, &s->heard)) {
                close(s->ours);
                s->ours = -1;
        }
        if (s->heard.n > n)
                server_understands(s);
}

void world_listen(void) {
        w.is_program_over |= !take(w.client, &world.client_heard);
        for (size_t i = 0; i < w.n_servers; i++)
                server_listens(w.servers + i);
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

        send_all(s->ours, text, n);
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
                if (w.rules.extensions & 1U << i)
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

/* The program waits for this server. false if nothing will come. */
static bool server_moves(struct server_end *s) {
        size_t n_questions;
        struct piece p;

        server_listens(s);
        n_questions = s->n_questions;
        if (s->is_silent || s->is_gone)
                return s->is_gone;
        if (!next_piece(&w.at_server, false, &p)) {
                server_answers(s);
                return n_questions > 0;
        }
        w.at_server = p.text + p.n;
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

/* The program looks whether something has come unasked. */
static void server_interrupts(struct server_end *s) {
        struct piece p;

        if (s->is_silent || s->is_gone || !next_piece(&w.at_server, false, &p) ||
            p.kind != SERVER_EARLY)
                return;
        server_listens(s);
        w.at_server = p.text + p.n;
        server_says(s, p.text, p.n);
}

/* --- in place of the kernel ------------------------------------------------------------------- */

static struct server_end *server_of(int fd) {
        for (size_t i = w.n_servers; i > 0; i--)
                if (w.servers[i - 1].theirs == fd)
                        return w.servers + i - 1;
        return NULL;
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout) {
        int r = __real_poll(fds, n, 0);
        struct server_end *s = n > 0 ? server_of(fds[0].fd) : NULL;
        bool is_input = n > 0 && fds[0].events & POLLIN;

        /* patience_check() does not wait */
        if (w.err < 0 || r != 0 || (n > 0 && fds[0].fd == w.stop))
                return r;
        if (n == 0) { /* it waits until we have heard it */
                world_listen();
                return 0;
        }
        if (!is_input)
                world_listen(); /* makes room */
        else if (s && timeout == 0)
                server_interrupts(s);
        else if (s ? !server_moves(s) : !client_moves(n > 1 ? fds + 1 : NULL))
                return n > 1 && fds[1].revents ? 1 : 0;
        r = __real_poll(fds, n, 0);
        must(r > 0 || timeout == 0 || is_input); /* there is always room */
        return r > 0 || timeout == 0 ? r : __wrap_poll(fds, n, timeout);
}

int broker_start(const struct services *s) {
        w.services = *s;
        w.has_broker = true;
        return 0;
}

int broker_socket(void) {
        return w.has_broker ? w.stop : -1;
}

void broker_stop(void) {
        w.has_broker = false;
}

/* No strategy of the target runs programs. */
void broker_tell_peer(const char *client) {
        (void) client;
}

void broker_run(const struct request *r, const char *variables, int message, struct patience *p,
                struct answer *ret, char ret_output[static ANSWER_TEXT_MAX]) {
        (void) r, (void) variables, (void) message, (void) p, (void) ret, (void) ret_output;
        must(false);
}

bool broker_start_tls(const struct passed *p, struct answer *ret) {
        (void) p, (void) ret;
        must(false);
        return false;
}

void broker_find_list(const struct address *a, enum request_purpose purpose, struct patience *p,
                      struct answer *ret) {
        (void) a, (void) purpose, (void) p, (void) ret;
        must(false);
}

int broker_connect(unsigned index, uint64_t milliseconds, struct patience *p,
                   struct prologue_result *ret, const char **ret_why) {
        struct server_end *s = w.servers + w.n_servers;
        const char *port, *endpoint = request_endpoint(&w.services, index, &port);
        int pair[2];

        (void) milliseconds, (void) p;
        must(endpoint && w.has_broker);
        *ret = (struct prologue_result) { 0 };
        *ret_why = "it is not there";
        if (w.n_servers == SERVERS_MAX ||
            (w.n_servers < 8 && w.rules.failures & 1U << w.n_servers)) {
                /* it fails once */
                w.rules.failures &= (uint8_t) ~(w.n_servers < 8 ? 1U << w.n_servers : 0);
                return -ECONNREFUSED;
        }
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        *s = (struct server_end) { .ours = pair[0], .theirs = pair[1], .handover = -1 };
        w.n_servers++;
        s->is_mailman = strcmp(endpoint, WORLD_MAILMAN) == 0;
        s->is_lmtp = s->is_mailman || w.rules.is_upstream_lmtp;
        ask(s, COMMAND_CONNECT, "", 0);
        return pair[1];
}

/* --- the whole -------------------------------------------------------------------------------- */

void world_init(void) {
        w.real_err = dup(STDERR_FILENO);
        w.err = memfd_create("stderr", MFD_CLOEXEC);
        w.stop = eventfd(0, EFD_CLOEXEC); /* never readable, but where poll() says so */
        if (__sanitizer_set_report_fd)
                __sanitizer_set_report_fd((void *) (intptr_t) w.real_err);
}

static void open_stderr(void) {
        must(ftruncate(w.err, 0) == 0 && lseek(w.err, 0, SEEK_SET) == 0);
        dup2(w.err, STDERR_FILENO);
}

void world_hear_no_more(void) {
        dup2(w.real_err, STDERR_FILENO);
}

size_t world_stderr(const char **ret) {
        static struct text text;
        off_t n = lseek(w.err, 0, SEEK_CUR);

        text.n = 0;
        text_add(&text, "", 0);
        if (text.size < (size_t) n + 1) {
                text.data = realloc(text.data, (size_t) n + 1);
                text.size = (size_t) n + 1;
        }
        *ret = text.data;
        return pread(w.err, text.data, (size_t) n, 0) == n ? (size_t) n : 0;
}

void world_start(const char *pieces, size_t n, const struct world_rules *rules) {
        int pair[2];

        open_stderr();
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        w.rules = *rules;
        w.pieces = w.at_client = w.at_server = pieces;
        w.end = pieces + n;
        w.client = pair[0];
        w.is_program_over = false;
        memset(&world, 0, sizeof(world));
        world.client = pair[1];
        world.stop = w.stop;
}

static void server_end(struct server_end *s) {
        must(s->ours < 0); /* the program has closed its end */
        while (s->n_questions > 0)
                forget_question(s);
        free(s->questions);
        text_clear(&s->heard);
        text_clear(&s->reply);
        forget_transaction(s);
}

void world_end(void) {
        world_listen();
        for (size_t i = 0; i < w.n_servers; i++)
                server_end(w.servers + i);
        for (size_t i = 0; i < world.n_handovers; i++) {
                text_clear(&world.handovers[i].sender);
                text_clear(&world.handovers[i].recipients);
                text_clear(&world.handovers[i].content);
        }
        free(world.handovers);
        text_clear(&world.client_said);
        text_clear(&world.client_heard);
        close(w.client);
        close(world.client);
        w.n_servers = 0;
}
