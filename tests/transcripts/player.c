/* SPDX-License-Identifier: MIT */
/* transcripts/player.c - plays the octets of a client to the core. */
#include "player.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define must(condition)                                                                            \
        do {                                                                                       \
                if (!(condition))                                                                  \
                        fail(p, #condition, __LINE__);                                             \
        } while (0)

static void fail(const struct player *p, const char *what, int line) {
        fprintf(stderr, "%s: the core breaks a promise: %s (player.c:%d, event %zu)\n", p->name,
                what, line, p->log.n);
        abort();
}

/* --- octets and logs -------------------------------------------------------------------------- */

void text_add(struct text *t, const char *data, size_t n) {
        if (t->n + n + 1 > t->size) {
                t->size = 2 * (t->n + n + 1);
                t->data = realloc(t->data, t->size);
                if (!t->data)
                        abort();
        }
        if (n > 0)
                memcpy(t->data + t->n, data, n);
        t->n += n;
        t->data[t->n] = '\0';
}

void text_clear(struct text *t) {
        free(t->data);
        *t = (struct text) { 0 };
}

bool text_equal(const struct text *a, const struct text *b) {
        return a->n == b->n && (a->n == 0 || memcmp(a->data, b->data, a->n) == 0);
}

static void add_string(struct text *t, const char *s) {
        text_add(t, s, strlen(s));
}

void log_clear(struct log *l) {
        for (size_t i = 0; i < l->n; i++) {
                text_clear(&l->records[i].envelope);
                text_clear(&l->records[i].text);
        }
        free(l->records);
        *l = (struct log) { 0 };
}

static struct record *add_record(struct player *p, enum event_kind kind) {
        struct log *l = &p->log;

        if ((l->n & (l->n - 1)) == 0) {
                l->records = realloc(l->records, (l->n ? 2 * l->n : 1) * sizeof(*l->records));
                if (!l->records)
                        abort();
        }
        l->records[l->n] = (struct record) { .kind = kind };
        return l->records + l->n++;
}

static bool is_same(const struct record *a, const struct record *b) {
        return a->kind == b->kind && a->index == b->index && a->code == b->code &&
               text_equal(&a->text, &b->text) && text_equal(&a->envelope, &b->envelope);
}

static void print_record(const char *label, const struct log *l, size_t i) {
        static const char *const names[] = { "MORE",   "HELLO", "SENDER",  "RECIPIENT", "DATA",
                                             "BODY",   "REPLY", "END",     "RESET",     "TLS",
                                             "SECURE", "AUTH",  "COLLECT", "CLOSE" };

        if (i >= l->n)
                fprintf(stderr, "  %s: nothing\n", label);
        else
                fprintf(stderr, "  %s: %s %zu \"%s\"\n", label, names[l->records[i].kind],
                        l->records[i].index,
                        l->records[i].text.data ? l->records[i].text.data : "");
}

bool log_is_equal(const struct log *a, const struct log *b, const char *name) {
        for (size_t i = 0; i < a->n || i < b->n; i++) {
                if (i >= a->n || i >= b->n || !is_same(a->records + i, b->records + i)) {
                        fprintf(stderr, "%s: event %zu differs\n", name, i);
                        print_record("first", a, i);
                        print_record("second", b, i);
                        return false;
                }
        }
        return true;
}

/* --- what each event must be like ------------------------------------------------------------- */

static void end_transaction(struct player *p) {
        for (unsigned i = 0; i < p->n_recipients; i++)
                text_clear(p->recipients + i);
        text_clear(&p->sender);
        text_clear(&p->envelope);
        text_clear(&p->body);
        p->has_sender = p->is_prdr = p->is_in_message = false;
        p->n_recipients = p->n_ends = 0;
}

static void add_path(struct text *t, const char *mark, const char *address, const char *options) {
        add_string(t, mark);
        add_string(t, " <");
        add_string(t, address);
        add_string(t, *options ? "> " : ">");
        add_string(t, options);
        add_string(t, "\n");
}

static void hear_hello(struct player *p) {
        struct record *r = add_record(p, SERVER_HELLO);
        const struct offer offer = { p->offer, p->server.rules.max_size,
                                     p->server.rules.max_recipients };

        must(!p->is_in_message || p->server.body.is_counted); /* between two chunks */
        must(*p->server.hello.name && strlen(p->server.hello.name) <= HELO_MAX);
        add_string(&r->text, p->server.hello.is_extended ? "extended " : "plain ");
        add_string(&r->text, p->server.hello.name);
        end_transaction(p);
        p->has_hello = true;
        server_offer(&p->server, &offer, p->mechanisms ? p->mechanisms : "");
        must(p->server.n_recipients == 0 && strcmp(p->server.helo, p->server.hello.name) == 0);
}

static void hear_sender(struct player *p, const struct sender *s, struct reply *verdict) {
        struct record *r = add_record(p, SERVER_SENDER);
        char details[60];

        must(p->has_hello && !p->has_sender);
        must(p->rules.tls != SERVER_TLS_REQUIRED || p->server.is_secure);
        must(strlen(s->address.text) <= ADDRESS_MAX && strlen(s->options) <= OPTIONS_MAX);
        must(p->server.is_extended || !*s->options);
        snprintf(details, sizeof(details), "size %llu%s%s%s", (unsigned long long) s->size,
                 s->is_8bit ? " 8bit" : "", s->is_smtputf8 ? " smtputf8" : "",
                 s->address.has_route ? " route" : "");
        add_path(&r->text, "!", s->address.text, s->options);
        add_string(&r->text, details);
        p->verdict(p->userdata, SERVER_SENDER, s->address.text, verdict);
        must(!s->is_prdr || (p->offer & EXTENSION_PRDR && !p->rules.is_lmtp));
        p->has_sender = reply_is_positive(verdict);
        p->is_prdr = p->has_sender && s->is_prdr;
        if (p->has_sender)
                add_path(&p->envelope, "!", s->address.text, s->options);
}

static void hear_recipient(struct player *p, const struct recipient *a, struct reply *verdict) {
        struct record *r = add_record(p, SERVER_RECIPIENT);

        must(p->has_sender && !p->is_in_message);
        must(*a->address.text && strlen(a->address.text) <= ADDRESS_MAX);
        must(p->n_recipients < p->rules.max_recipients);
        add_path(&r->text, ">", a->address.text, a->options);
        p->verdict(p->userdata, SERVER_RECIPIENT, a->address.text, verdict);
        if (!reply_is_positive(verdict))
                return;
        add_path(&p->envelope, ">", a->address.text, a->options);
        add_string(p->recipients + p->n_recipients++, a->address.text);
}

static void hear_data(struct player *p, struct reply *verdict) {
        add_record(p, SERVER_DATA);
        must(p->n_recipients > 0 && !p->is_in_message);
        p->verdict(p->userdata, SERVER_DATA, "", verdict);
        p->is_in_message = verdict->code == 354;
}

static void hear_body(struct player *p, const struct event *e, const char *in, size_t used) {
        bool is_ours = e->n == 1 && *e->data == '\n' && p->server.chunk.is_last;

        must(p->is_in_message && p->n_ends == 0);
        must(e->n > 0 && (is_ours || (e->data >= in && e->data + e->n <= in + used)));
        must(!memchr(e->data, '\r', e->n));
        text_add(&p->body, e->data, e->n);
}

/* RFC 1870 section 5: each line end counts as two, added dots do not count. */
static unsigned long long wire_size(const struct text *t) {
        unsigned long long size = t->n;

        for (size_t i = 0; i < t->n; i++)
                size += t->data[i] == '\n';
        return size;
}

static void hear_end(struct player *p, const struct event *e, struct reply *verdict) {
        struct record *r = add_record(p, SERVER_END);

        bool is_each = p->rules.is_lmtp || p->is_prdr;

        must(p->is_in_message && server_has_own_verdicts(&p->server) == is_each);
        must(e->n == p->n_ends && e->n < (is_each ? p->n_recipients : 1));
        must(p->server.n_recipients == p->n_recipients);
        must(p->server.size == wire_size(&p->body));
        must(p->rules.max_size == 0 || p->server.size <= p->rules.max_size);
        must(p->body.n == 0 || p->body.data[p->body.n - 1] == '\n');
        r->index = e->n;
        if (p->n_ends++ == 0) {
                text_add(&r->text, p->body.data, p->body.n);
                text_add(&r->envelope, p->envelope.data, p->envelope.n);
        }
        p->verdict(p->userdata, SERVER_END, is_each ? p->recipients[e->n].data : "", verdict);
}

static void hear_challenge(struct player *p) {
        struct record *r = add_record(p, SERVER_REPLY);

        must(p->is_in_exchange);
        add_string(&r->text, "334 ");
        text_add(&r->text, p->challenge.text, p->challenge.n);
        add_string(&r->text, "\r\n");
        r->code = 334;
}

static void hear_reply(struct player *p, const struct reply *reply) {
        struct record *r = add_record(p, SERVER_REPLY);
        struct reply_parser parser = { 0 };
        char wire[REPLY_WIRE_MAX], again[REPLY_WIRE_MAX];
        size_t n = reply_format(reply, wire), used;

        must(reply_parse(&parser, wire, n, &used) == REPLY_DONE && used == n);
        must(parser.reply.code == reply->code && strcmp(parser.reply.text, reply->text) == 0);
        must(strcmp(parser.reply.enhanced, reply->enhanced) == 0);
        must(reply_format(&parser.reply, again) == n && memcmp(wire, again, n) == 0);
        must(reply->code >= 400 || reply->code < 300 || reply->code == 354 ||
             (reply->code == 353 && p->is_prdr));
        text_add(&r->text, wire, n);
        r->code = reply->code;
}

static void hear_tls(struct player *p, struct reply *verdict) {
        add_record(p, SERVER_TLS);
        must(p->rules.tls != SERVER_NO_TLS && !p->server.is_secure);
        must(p->has_hello && !p->has_sender);
        p->verdict(p->userdata, SERVER_TLS, "", verdict);
        p->may_be_secure = verdict->code == 220;
}

static bool is_zero(const char *s, size_t n) {
        while (n > 0 && s[n - 1] == '\0')
                n--;
        return n == 0;
}

static void judge_exchange(struct player *p, const struct event *e, const char *line,
                           struct reply *verdict) {
        p->verdict(p->userdata, SERVER_AUTH, line, verdict);
        if (verdict->code == 0)
                login_step(&p->login, e->data, e->n, &p->challenge, verdict);
        else {
                p->login.state = LOGIN_IDLE;
                p->challenge.n = strlen(verdict->text);
                memcpy(p->challenge.text, verdict->text, p->challenge.n);
        }
}

/* A line that somebody else can be given, and that nobody finds in the input any more. */
static void hear_auth(struct player *p, const struct event *e, const char *in, size_t used,
                      struct reply *verdict) {
        bool is_begun = p->is_in_exchange;
        char *line = strndup(e->data, e->n);
        struct record *r = add_record(p, SERVER_AUTH);

        must(strlen(line) == e->n && e->n < AUTH_LINE_MAX);
        must(used > 0 && in[used - 1] == '\n' && is_zero(in, used - 1));
        must(p->rules.auth != SERVER_NO_AUTH && p->has_hello && !p->has_sender &&
             !p->is_authenticated);
        must(p->rules.auth != SERVER_AUTH_NEEDS_TLS || p->server.is_secure);
        must(is_begun || strncmp(line, "AUTH ", 5) == 0);
        must(!is_begun || strcmp(line, "*") == 0 || auth_is_base64(line, e->n));
        add_string(&r->text, line);
        judge_exchange(p, e, line, verdict);
        free(line);
}

/* After the answer. Of the line there is left what may be shown: "AUTH" and the mechanism. */
static void end_step(struct player *p) {
        size_t n_shown;
        const char *line = server_command(&p->server, &n_shown);

        p->is_in_exchange = p->server.reply.code == 334;
        p->is_authenticated = p->server.reply.code >= 200 && p->server.reply.code < 300;
        must(p->is_authenticated == (*p->server.authenticated != '\0'));
        must(n_shown <= strlen("AUTH ") + AUTH_MECHANISM_MAX &&
             is_zero(line + n_shown, sizeof(p->server.line) - n_shown));
}

/* TLS begins at once, and what comes next is said inside. */
static void hear_secure(struct player *p) {
        unsigned n_commands = p->server.n_commands, n_errors = p->server.n_errors;

        add_record(p, SERVER_SECURE);
        must(p->may_be_secure);
        server_secured(&p->server);
        must(p->server.is_secure && !*p->server.helo && !p->server.is_extended);
        must(p->server.n_commands == n_commands && p->server.n_errors == n_errors);
        p->has_hello = p->may_be_secure = p->is_authenticated = false;
        must(!*p->server.authenticated);
}

static void hear_close(struct player *p) {
        struct event again;

        add_record(p, SERVER_CLOSE);
        p->is_closed = true;
        server_step(&p->server, NULL, 0, &again);
        must(again.kind == SERVER_CLOSE);
}

static void hear(struct player *p, const struct event *e, const char *in, size_t used) {
        struct reply verdict = { 0 };

        switch (e->kind) {
        case SERVER_HELLO: hear_hello(p); break;
        case SERVER_SENDER: hear_sender(p, e->sender, &verdict); break;
        case SERVER_RECIPIENT: hear_recipient(p, e->recipient, &verdict); break;
        case SERVER_DATA: hear_data(p, &verdict); break;
        case SERVER_BODY: hear_body(p, e, in, used); break;
        case SERVER_END: hear_end(p, e, &verdict); break;
        case SERVER_REPLY:
                if (e->reply->code == 334)
                        hear_challenge(p);
                else
                        hear_reply(p, e->reply);
                break;
        case SERVER_RESET:
                add_record(p, SERVER_RESET);
                end_transaction(p);
                break;
        case SERVER_CLOSE: hear_close(p); break;
        case SERVER_TLS: hear_tls(p, &verdict); break;
        case SERVER_SECURE: hear_secure(p); break;
        case SERVER_AUTH: hear_auth(p, e, in, used, &verdict); break;
        case SERVER_COLLECT: must(!"nothing is deferred here"); break;
        case SERVER_MORE: break;
        }
        if (verdict.code)
                server_answer(&p->server, &verdict);
        if (e->kind == SERVER_AUTH)
                end_step(p);
}

/* --- playing ---------------------------------------------------------------------------------- */

/* One piece, in memory of exactly its size. */
static void feed_piece(struct player *p, const char *octets, size_t n) {
        char *in = malloc(n), *at = in;
        struct event e = { .kind = SERVER_CLOSE };

        if (n > 0)
                memcpy(in, octets, n);
        while (!p->is_closed) {
                size_t left = n - (size_t) (at - in), used = server_step(&p->server, at, left, &e);

                must(used <= left);
                must(e.kind != SERVER_MORE || used == left);
                hear(p, &e, at, used);
                at += used;
                left -= used;
                if (e.kind == SERVER_MORE)
                        break;
        }
        free(in);
}

void player_start(struct player *p) {
        p->recipients = calloc(p->rules.max_recipients + 1, sizeof(*p->recipients));
        server_init(&p->server, &p->rules);
}

void player_feed(struct player *p, const char *octets, size_t n, size_t piece) {
        size_t at = 0, part;

        do {
                part = n - at < piece ? n - at : piece;
                feed_piece(p, octets + at, part);
                at += part;
        } while (at < n && !p->is_closed);
}

void player_end(struct player *p) {
        end_transaction(p);
        free(p->recipients);
}
