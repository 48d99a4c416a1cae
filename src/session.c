/* session.c - one session: each event of the server becomes a question to the strategy, and its answer the reply. */
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/ascii.h"
#include "base/text.h"
#include "deliver/delivery.h"
#include "io/deadline.h"
#include "io/log.h"
#include "io/notify.h"
#include "sandbox.h"
#include "smtp/server.h"

struct session {
        const struct config *config;
        const struct peer *peer;
        struct channel *channel;
        struct delivery *delivery;
        struct server server;
        struct envelope envelope;
        const char *end;         /* why the session ended; NULL while it goes on */
        bool is_hung_up;         /* we ended it, the client may still be talking */
        bool is_verdict_unheard; /* a 250 to a message was said, and the client was not seen to hear it */
        bool is_processed;       /* this transaction's message went to the strategy */
        bool is_confined;
        unsigned n_ids, n_messages, n_accepted;
        char last_reply[120];
        int64_t started, asked;  /* the session; the question to the strategy (io/deadline.h) */
        struct message message;  /* last: what comes before it fits into few pages */
};

/* Few addressees are the rule, and memory that is not allocated costs no system call. */
static struct addressee few[100];

static const struct fixed_reply sender_ok = { 250, "2.1.0", "sender OK" };
static const struct fixed_reply recipient_ok = { 250, "2.1.5", "recipient OK" };
static const struct fixed_reply start_input = { 354, "", "end the message with <CRLF>.<CRLF>" };
static const struct fixed_reply undelivered = { 451, "4.3.0", "not delivered, try again later" };

/* --- the log ------------------------------------------------------------------------------------------- */

static void log_duration(struct log_line *l, int64_t then) {
        int64_t ms = deadline_now() - then;

        char seconds[ASCII_NUMBER_MAX], thousandths[ASCII_NUMBER_MAX];

        log_field(l, "duration", ascii_number((uint64_t) ms / 1000, seconds), ".",
                  ascii_number((uint64_t) ms % 1000 + 1000, thousandths) + 1, NULL); /* 1000: with leading zeros */
}

static void log_peer(struct log_line *l, const struct peer *p) {
        log_field(l, "peer", p->address, NULL);
        if (*p->port)
                log_field(l, "port", p->port, NULL);
        if (p->uid >= 0)
                log_number(l, "uid", (uint64_t) p->uid);
}

static const char *protocol(const struct session *s) {
        const struct server *v = &s->server;

        if (v->rules.is_lmtp)
                return v->is_smtputf8 ? "UTF8LMTP" : "LMTP";
        return v->is_smtputf8 ? "UTF8SMTP" : v->is_extended ? "ESMTP" : "SMTP";
}

static void log_verdict(struct log_line *l, const char *key, const struct reply *r) {
        char code[ASCII_NUMBER_MAX];

        log_field(l, key, ascii_number((uint64_t) r->code, code), *r->enhanced ? " " : "", r->enhanced, " ", r->text, NULL);
}

/* Who, from whom, to whom. With different verdicts (LMTP, or several destinations) each recipient has its own. */
static void log_envelope(struct log_line *l, const struct session *s, bool has_verdicts) {
        const struct envelope *e = &s->envelope;

        log_field(l, "id", e->id, NULL);
        log_peer(l, s->peer);
        log_field(l, "helo", s->server.helo, NULL);
        log_field(l, "protocol", protocol(s), NULL);
        log_field(l, "from", "<", e->sender.address.text, ">", NULL);
        log_number(l, "recipients", e->n_addressees);
        for (size_t i = 0; i < e->n_addressees && l->n < sizeof(l->text) / 2; i++) {
                log_field(l, "to", "<", e->addressees[i].recipient.address.text, ">", NULL);
                if (has_verdicts)
                        log_verdict(l, "verdict", &e->addressees[i].verdict);
        }
        log_number(l, "size", s->server.size);
}

static void log_message(const struct session *s, const struct reply *verdict) {
        const struct envelope *e = &s->envelope;
        struct log_line l;
        bool is_same = true;

        for (size_t i = 1; i < e->n_addressees; i++)
                is_same &= reply_is_same(&e->addressees[i].verdict, &e->addressees[0].verdict);
        log_start(&l, "message");
        log_envelope(&l, s, !is_same);
        log_field(&l, "strategy", s->config->strategy->name, NULL);
        if (*e->destination)
                log_field(&l, "destination", e->destination, NULL);
        log_verdict(&l, "verdict", verdict);
        log_duration(&l, s->asked);
        log_send(&l, reply_is_positive(verdict) ? LOG_INFO : LOG_WARNING);
}

/* A transaction with recipients ended before there was a whole message. */
static void log_abandoned(const struct session *s) {
        struct log_line l;

        log_start(&l, "abandoned");
        log_envelope(&l, s, false);
        log_field(&l, "reason", s->end ? s->end : s->last_reply, NULL);
        log_send(&l, LOG_NOTICE);
}

static void log_session(const struct session *s) {
        struct log_line l;

        log_start(&l, "session");
        log_peer(&l, s->peer);
        log_field(&l, "helo", s->server.helo, NULL);
        log_field(&l, "protocol", protocol(s), NULL);
        log_number(&l, "commands", s->server.n_commands);
        log_number(&l, "errors", s->server.n_errors);
        log_number(&l, "messages", s->n_messages);
        log_number(&l, "accepted", s->n_accepted);
        log_field(&l, "end", s->end, NULL);
        log_duration(&l, s->started);
        log_send(&l, LOG_INFO);
}

/* What `systemctl status` says of this session. */
static void say_status(const struct session *s) {
        char count[ASCII_NUMBER_MAX];

        if (notify_is_wanted())
                notify_status(s->peer->address, ": waiting for a command; messages accepted: ", ascii_number(s->n_accepted, count), NULL);
}

static void say_message_status(const struct session *s, const char *doing) {
        const struct envelope *e = &s->envelope;
        char count[ASCII_NUMBER_MAX];

        if (notify_is_wanted())
                notify_status(s->peer->address, ": ", doing, " a message from <", e->sender.address.text, ">; recipients: ",
                              ascii_number(e->n_addressees, count), NULL);
}

/* --- the envelope ---------------------------------------------------------------------------------------- */

static void forget_message(struct session *s) {
        spool_reset(&s->message.spool);
        s->message.header = (struct header_scan) { 0 };
        s->message.size = 0;
        s->message.has_nul = false;
        s->envelope.n_addressees = 0;
        s->envelope.destination[0] = '\0';
        s->is_processed = false;
}

/* Unique on this host: the time in microseconds, our pid, and a count, in hexadecimal. */
static void make_id(struct session *s) {
        static const char digits[] = "0123456789abcdef";
        char *p = s->envelope.id + sizeof(s->envelope.id) - 1;
        struct timespec t;
        uint64_t parts[3];

        clock_gettime(CLOCK_REALTIME, &t);
        parts[0] = ++s->n_ids;
        parts[1] = (uint64_t) getpid();
        parts[2] = (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
        *p = '\0';
        for (size_t i = 0; i < ELEMENTS(parts); i++) {
                if (i > 0)
                        *--p = '.';
                do
                        *--p = digits[parts[i] & 15];
                while ((parts[i] >>= 4) > 0);
        }
        memmove(s->envelope.id, p, strlen(p) + 1);
}

/* --- one function for each event that asks for more than a word ------------------------------------------ */

static void on_reset(struct session *s) {
        if (s->envelope.n_addressees > 0 && !s->is_processed)
                log_abandoned(s);
        forget_message(s);
        say_status(s);
        if (s->config->strategy->reset)
                s->config->strategy->reset(s->delivery);
}

static void on_hello(struct session *s) {
        const struct delivery_ops *strategy = s->config->strategy;
        uint64_t max_size = s->config->max_size;
        unsigned extensions = EXTENSIONS_ALL;

        on_reset(s);
        if (strategy->hello)
                extensions = strategy->hello(s->delivery, s->server.helo, &max_size);
        server_offer(&s->server, extensions, max_size);
}

static void on_sender(struct session *s, const struct sender *sender) {
        struct reply verdict;

        reply_fix(&verdict, &sender_ok);
        make_id(s);
        s->envelope.sender = *sender;
        if (s->config->strategy->sender)
                s->config->strategy->sender(s->delivery, &s->envelope, &verdict);
        server_answer(&s->server, &verdict);
}

static void on_data(struct session *s) {
        struct reply verdict;

        say_message_status(s, "receiving");
        reply_fix(&verdict, &start_input);
        server_answer(&s->server, &verdict);
}

/* The server has seen to it that there is room for one more. */
static void on_recipient(struct session *s, const struct recipient *recipient) {
        struct addressee *a = &s->envelope.addressees[s->envelope.n_addressees];
        struct reply verdict;

        a->recipient = *recipient;
        a->is_list = false;
        reply_fix(&a->verdict, &undelivered);
        reply_fix(&verdict, &recipient_ok);
        if (s->config->strategy->recipient)
                s->config->strategy->recipient(s->delivery, a, &verdict);
        s->envelope.n_addressees += reply_is_positive(&verdict);
        server_answer(&s->server, &verdict);
}

/* A full disk is found out at the end: the client hears 452 and keeps the message. */
static void on_body(struct session *s, const char *text, size_t n) {
        if (spool_append(&s->message.spool, text, n) < 0)
                return;
        s->message.has_nul |= memchr(text, '\0', n) != NULL;
        if (!s->message.header.is_over)
                header_scan(&s->message.header, text, n);
}

static void process_message(struct session *s) {
        int error = s->message.spool.error;
        struct reply verdict;

        s->asked = deadline_now();
        s->message.size = s->server.size;
        s->envelope.protocol = protocol(s);
        s->envelope.helo = s->server.helo;
        s->is_processed = true;
        s->n_messages++;
        say_message_status(s, "delivering");
        if (error == 0) {
                s->config->strategy->process_message(s->delivery, &s->envelope, &s->message);
                return;
        }
        delivery_storage_verdict(error, &verdict);
        delivery_verdict(&s->envelope, &verdict);
}

/* One reply that speaks for all recipients; in LMTP each has its own. */
static const struct reply *verdict_of(const struct session *s, size_t index) {
        const struct reply *worst = &s->envelope.addressees[index].verdict;

        if (!s->server.rules.is_lmtp)
                for (size_t i = 1; i < s->envelope.n_addressees; i++)
                        worst = reply_worst(worst, &s->envelope.addressees[i].verdict);
        return worst;
}

/* A client that was told 250 may not have heard it, and then sends the message again (RFC 1047). */
static void log_unheard_verdict(struct session *s) {
        if (s->is_verdict_unheard)
                log_say(LOG_WARNING, "duplicate possible: the client was lost before it was seen to hear the 250 for its last message");
        s->is_verdict_unheard = false;
}

static void lose(struct session *s, const char *how) {
        s->end = how;
        log_unheard_verdict(s);
}

static void lose_unheard(struct session *s, int error) {
        lose(s, error == -ETIMEDOUT    ? "the client does not read our replies"
                : error == -ECANCELED ? "shutting down, and the client does not read our replies"
                                      : "the client is gone");
}

static bool flush_replies(struct session *s) {
        int r = channel_flush(s->channel);

        if (r < 0)
                lose_unheard(s, r);
        return r == 0;
}

static void on_end(struct session *s, size_t index) {
        size_t n_verdicts = s->server.rules.is_lmtp ? s->envelope.n_addressees : 1;
        const struct reply *verdict;

        /* A transcript's replies and messages may be shown at one place, where their order counts. */
        if (index == 0 && s->server.rules.lf_is_line_end && !flush_replies(s))
                return;
        if (index == 0)
                process_message(s);
        verdict = verdict_of(s, index);
        for (size_t i = 0; i < n_verdicts && index == 0; i++) /* their replies may leave together */
                s->is_verdict_unheard |= reply_is_positive(verdict_of(s, i));
        if (index == 0) {
                log_message(s, verdict);
                s->n_accepted += reply_is_positive(verdict);
                if (reply_is_positive(verdict))
                        notify_accepted();
        }
        server_answer(&s->server, verdict);
}

static void on_reply(struct session *s, const struct reply *r) {
        char wire[REPLY_WIRE_MAX];

        char code[ASCII_NUMBER_MAX], *end = stpcpy(s->last_reply, ascii_number((uint64_t) r->code, code));
        size_t n = reply_format(r, wire);
        int error;

        *end++ = ' ';
        *(char *) mempcpy(end, r->text, strnlen(r->text, 100)) = '\0';
        if ((error = channel_write(s->channel, wire, n)) < 0)
                lose_unheard(s, error);
}

/* Before the first octet of a stranger. What stands ready in a transcript is our user's own, and is read as it is: a filter
 * would be a tenth of such a session's time. One that has to wait for its client is no different from a stranger's. */
static void confine(struct session *s) {
        if (s->is_confined || (s->server.rules.lf_is_line_end && channel_has_input(s->channel)))
                return;
        s->is_confined = true;
        sandbox_enter(s->config);
}

/* Waits for input. Returns the octets that came, 0 if the session has to end. */
static size_t on_more(struct session *s, char **ret) {
        int64_t n;

        confine(s);
        if (!flush_replies(s))
                return 0;
        n = channel_read(s->channel, ret);
        if (n == -ETIMEDOUT)
                server_close(&s->server, 421, "4.4.2", "timeout: nothing came from you, closing connection");
        else if (n == -ETIME)
                server_close(&s->server, 421, "4.4.2", "the session took too long, closing connection");
        else if (n == -ECANCELED)
                server_close(&s->server, 421, "4.3.2", "service is shutting down, closing connection");
        else if (n < 0)
                lose(s, "the connection was lost");
        else if (n == 0 && s->is_verdict_unheard && !channel_is_heard(s->channel))
                lose(s, "the client closed the connection without hearing our reply");
        else if (n == 0)
                s->end = "the client closed the connection";
        if (n >= 0 || channel_is_heard(s->channel))
                s->is_verdict_unheard = false;
        return n > 0 ? (size_t) n : 0;
}

static void on_close(struct session *s, const char *end) {
        s->end = end;
        s->is_hung_up = strncmp(s->last_reply, "221", 3) != 0;
}

/* What the client sent behind a refused DATA is the message, and must not run as commands. */
static void on_quiet(struct session *s, bool has_more) {
        if (has_more || channel_has_octets(s->channel))
                on_close(s, "the message came although DATA was refused");
}

/* --- the session ------------------------------------------------------------------------------------------ */

static int start(struct session *s, const struct config *c, const struct peer *p, struct channel *channel) {
        s->config = c;
        s->peer = p;
        s->channel = channel;
        s->envelope.peer = p;
        s->started = deadline_now();
        spool_init(&s->message.spool);
        forget_message(s);
        channel->timeout = c->timeout;
        channel->deadline = deadline_after(c->session_timeout);
        s->envelope.addressees = c->max_recipients <= ELEMENTS(few) ? few : calloc(c->max_recipients, sizeof(few[0]));
        if (!s->envelope.addressees)
                return -ENOMEM;
        return c->strategy->open(c, p, &s->delivery);
}

static void finish(struct session *s) {
        on_reset(s);
        flush_replies(s);
        if (s->is_verdict_unheard && s->end == s->last_reply && channel_is_reset(s->channel)) /* it sent QUIT behind its dot */
                lose(s, "the client was gone before it heard our replies");
        if (s->is_hung_up && !channel_hang_up(s->channel))
                log_unheard_verdict(s);
        log_session(s);
        if (s->config->strategy->close)
                s->config->strategy->close(s->delivery);
        if (s->envelope.addressees != few)
                free(s->envelope.addressees);
}

static void converse(struct session *s) {
        char nothing[1], *in = nothing;
        size_t n = 0;

        while (!s->end) {
                struct event event;
                size_t used = server_step(&s->server, in, n, &event);

                in += used;
                n -= used;
                switch (event.kind) {
                case SERVER_HELLO: on_hello(s); break;
                case SERVER_SENDER: on_sender(s, event.sender); break;
                case SERVER_RECIPIENT: on_recipient(s, event.recipient); break;
                case SERVER_DATA: on_data(s); break;
                case SERVER_BODY: on_body(s, event.data, event.n); break;
                case SERVER_REPLY: on_reply(s, event.reply); break;
                case SERVER_END: on_end(s, event.n); break;
                case SERVER_RESET: on_reset(s); break;
                case SERVER_QUIET: on_quiet(s, n > 0); break;
                case SERVER_CLOSE: on_close(s, s->last_reply); break;
                case SERVER_COLLECT: break;
                case SERVER_MORE: n = on_more(s, &in); break;
                }
        }
}

int session_run(const struct config *c, const struct peer *p, struct channel *channel, bool lf_is_line_end) {
        static struct session s; /* large, and there is one in a process */
        const struct server_rules rules = {
                .hostname = c->hostname,
                .is_lmtp = c->is_lmtp,
                .lf_is_line_end = lf_is_line_end,
                .extensions = EXTENSIONS_ALL,
                .max_size = c->max_size,
                .max_recipients = (unsigned) c->max_recipients,
                .max_commands = (unsigned) c->max_commands,
                .max_errors = (unsigned) c->max_errors,
        };
        int r;

        r = start(&s, c, p, channel);
        if (r < 0)
                return r;
        server_init(&s.server, &rules);
        say_status(&s);
        converse(&s);
        finish(&s);
        return 0;
}
