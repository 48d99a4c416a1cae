/* SPDX-License-Identifier: MIT */
/* session.c - one session: the server's events are questions to the strategy, which answers. */
#include "session.h"

#include <errno.h>
#include <string.h>

#include "authentication.h"
#include "balancer.h"
#include "base/text.h"
#include "broker/broker.h"
#include "confine.h"
#include "io/deadline.h"
#include "io/log.h"
#include "io/notify.h"
#include "io/receipt.h"
#include "session_internal.h"
#include "tls.h"

enum {
        IDLE_SECONDS = 10,    /* of silence, and the strategy lets go what it can have again */
        FAREWELL_SECONDS = 2, /* after a verdict, for the client's QUIT if we are to end */
        BLINK = 100,          /* milliseconds for a client that may be about to say something */
};

/* --- questions: the strategy's answer is the reply -------------------------------------------- */

static void on_reset(struct session *s) {
        if (mail_is_abandoned(&s->mail))
                session_log_abandoned(&s->log, s->end);
        mail_reset(&s->mail);
        s->patience->stage = PATIENCE_IDLE;
        s->patience->message_deadline = INT64_MAX;
        session_log_waiting(&s->log);
}

static void on_hello(struct session *s, const struct hello *hello) {
        const struct delivery_ops *strategy = s->mail.strategy;
        const struct config *c = s->log.config;
        struct offer offer = { EXTENSIONS_LOCAL, c->max_size, (unsigned) c->max_recipients };

        on_reset(s);
        if (strategy->hello)
                strategy->hello(s->mail.delivery, hello->name, &offer);
        server_offer(&s->server, &offer, authentication_mechanisms(c, &s->mail));
}

/* To MAIL (`r` is NULL) or RCPT. Whoever the server takes for a recipient is one. */
static void answer(struct session *s, enum mail_answer answer, const struct recipient *r,
                   const struct reply *verdict) {
        switch (answer) {
        case MAIL_ANSWERED:
                if (!r && !reply_is_positive(verdict))
                        s->patience->stage = PATIENCE_IDLE;
                session_log_verdict(&s->log, r, verdict);
                server_answer(&s->server, verdict);
                mail_accept(&s->mail, s->server.n_recipients);
                break;
        case MAIL_DEFERRED: server_defer(&s->server); break;
        case MAIL_LATER: server_postpone(&s->server); break;
        }
}

static void on_sender(struct session *s, const struct sender *sender) {
        struct reply verdict;

        s->patience->stage = PATIENCE_ASKING;
        answer(s, mail_sender(&s->mail, sender, &verdict), NULL, &verdict);
}

static void on_recipient(struct session *s, const struct recipient *recipient) {
        struct reply verdict;

        answer(s, mail_recipient(&s->mail, recipient, &verdict), recipient, &verdict);
}

static void on_collect(struct session *s, bool is_sender) {
        const struct envelope *e = &s->mail.envelope;
        struct reply verdict;

        mail_collect(&s->mail, is_sender, &verdict);
        answer(s, MAIL_ANSWERED, is_sender ? NULL : &e->addressees[e->n_addressees].recipient,
               &verdict);
}

static void on_data(struct session *s) {
        static const struct fixed_reply start_input = { 354, "",
                                                        "end the message with <CRLF>.<CRLF>" };
        struct reply verdict;

        session_log_doing(&s->log, "receiving");
        reply_fix(&verdict, &start_input);
        server_answer(&s->server, &verdict);
}

static void on_auth(struct session *s, const struct event *line) {
        authentication_step(&s->authentication, &s->log, &s->mail, &s->server, line);
}

/* Once for each message: the best of its recipients' replies speaks for it in the log. */
static void deliver(struct session *s) {
        int64_t asked = deadline_now();
        const struct reply *said;
        struct outcome o;

        session_log_doing(&s->log, "delivering");
        session_rules_deliver(s);
        o = mail_outcome(&s->mail);
        said = server_has_own_verdicts(&s->server) ? o.best : o.worst;
        s->log.n_messages++;
        s->log.n_accepted += reply_is_positive(o.best);
        s->patience->stage = PATIENCE_IDLE;
        s->patience->farewell = deadline_after(FAREWELL_SECONDS);
        session_log_message(&s->log, said, asked);
        notify_count(reply_is_positive(o.best)    ? NOTIFY_2XX
                     : reply_is_temporary(o.best) ? NOTIFY_4XX
                                                  : NOTIFY_5XX);
        if (reply_is_positive(said))
                session_log_owe(&s->log, &s->receipt);
}

/* --- the client ------------------------------------------------------------------------------- */

static void lose_unheard(struct session *s, int error) {
        s->end = error == -ETIMEDOUT || error == -ETIME ? END_DEAF
                 : error == -ECANCELED                  ? END_STOPPED
                                                        : END_GONE;
}

/* There will be no more input: why, as channel_read() says it; 0 is its end. */
static void close_for(struct session *s, int error) {
        if (error == -ETIMEDOUT)
                server_close(&s->server, 421, "4.4.2",
                             "timeout: no input from you, closing connection");
        else if (error == -ETIME)
                server_close(&s->server, 421, "4.4.2",
                             "the session took too long, closing connection");
        else if (error == -ECANCELED)
                server_close(&s->server, 421, "4.3.2",
                             "service is shutting down, closing connection");
        else
                s->end = error == -EPIPE ? END_GONE : END_LOST;
}

void session_end_input(struct session *s, int64_t n) {
        if (n == 0)
                s->end = END_CLOSED;
        else
                close_for(s, (int) n);
}

/* Neither a client that sends all at once nor the strategy's time is a reason to go on. */
static bool check_time(struct session *s) {
        int error = patience_check(s->patience);

        if (error < 0)
                close_for(s, error);
        return error == 0;
}

bool session_flush(struct session *s) {
        int r = channel_flush(s->channel);

        if (r < 0)
                lose_unheard(s, r);
        return r == 0;
}

static void on_end(struct session *s, size_t index) {
        if (index == 0) {
                s->patience->message_deadline = deadline_after(s->log.config->message_timeout);
                /* Known replies need not wait. A transcript's may be shown where messages are. */
                if (!session_flush(s) || !session_rules_wait(s))
                        return;
                deliver(s);
        }
        server_answer(&s->server, server_has_own_verdicts(&s->server)
                                          ? &s->mail.envelope.addressees[index].verdict
                                          : mail_outcome(&s->mail).worst);
}

/* The server's own refusals. */
static void on_refusal(struct session *s, const struct event *event) {
        if (event->refused == REFUSED_SENDER)
                mail_refused_sender(&s->mail, event->sender);
        if (event->refused == REFUSED_MESSAGE)
                mail_refused(&s->mail);
        session_log_refused(&s->log, event);
}

static void on_reply(struct session *s, const struct event *event) {
        char wire[REPLY_WIRE_MAX];
        size_t n = reply_format(event->reply, wire);
        int error = event->reply->code == 334
                            ? authentication_challenge(&s->authentication, s->channel)
                            : channel_write(s->channel, wire, n);

        session_log_trace_reply(&s->log, wire, n);
        on_refusal(s, event);
        if (error < 0)
                lose_unheard(s, error);
}

bool session_prepare(struct session *s) {
        if (confine_start_broker(&s->mail, s->log.config, s->log.peer, s->channel) < 0) {
                server_close(&s->server, 421, "4.3.2", "short of resources, try again later");
                return false;
        }
        if (s->log.confinement == CONFINEMENT_NONE)
                s->log.confinement = confine(s->log.config, s->channel, s->is_transcript);
        return true;
}

/* The beginning of a wait: what a client that asks for nothing holds up elsewhere is let go. */
static void wait_a_while(struct session *s) {
        const struct delivery_ops *strategy = s->mail.strategy;
        struct pollfd in = { .fd = s->channel->in, .events = POLLIN };
        int64_t now = deadline_now();
        uint64_t waited;

        s->channel->timeout = s->log.config->timeout;
        if (!strategy->idle || server_has_sender(&s->server) ||
            s->idle_at >= deadline_after(s->channel->timeout))
                return;
        if (s->idle_at > now && patience_wait(s->patience, &in, 1, s->idle_at) != -ETIMEDOUT)
                return;
        waited = (uint64_t) (deadline_now() - now + 500) / 1000;
        s->channel->timeout -= waited < s->channel->timeout ? waited : s->channel->timeout;
        s->idle_at = INT64_MAX;
        strategy->idle(s->mail.delivery);
}

/* Waits for input. Returns the octets that came, 0 if the session has to end. */
static size_t on_more(struct session *s, char **ret) {
        int64_t n;

        if (!session_flush(s) || !session_prepare(s))
                return 0;
        wait_a_while(s);
        n = channel_read(s->channel, ret);
        if (n == 0 && tls_is_lost())
                n = -ECONNRESET;
        if (n >= 0 || n == -ETIMEDOUT || n == -ETIME || n == -ECANCELED)
                receipt_settle(&s->receipt, s->channel);
        if (n > 0)
                return (size_t) n;
        session_end_input(s, n);
        return 0;
}

/* --- the balancer ----------------------------------------------------------------------------- */

/* TLS of the client's connection to it counts as ours, if we are told so. */
static void begin_with_header(struct session *s) {
        peer_set_via(&s->peer);
        if (!session_prepare(s))
                return;
        s->end = balancer_hear(s->channel, &s->peer, &s->outer, s->log.why);
        if (s->log.config->proxy_tls && security_is_on(&s->outer)) {
                s->mail.envelope.security = &s->outer;
                server_secured(&s->server);
        }
}

/* --- the session ------------------------------------------------------------------------------ */

static int start(struct session *s, const struct config *c, const struct peer *p,
                 struct channel *channel) {
        s->channel = channel;
        s->peer = *p;
        s->log = (struct session_log) { .config = c,
                                        .peer = &s->peer,
                                        .outer = &s->outer,
                                        .server = &s->server,
                                        .envelope = &s->mail.envelope,
                                        .started = deadline_now() };
        channel->timeout = c->timeout;
        s->receipt.n = 0;
        s->idle_at = INT64_MAX;
        s->mail.envelope.security = &s->security;
        s->patience = channel->patience;
        s->patience->client = channel->out;
        s->patience->stop_timeout = c->stop_timeout;
        s->patience->deadline = deadline_after(c->session_timeout);
        return mail_open(&s->mail, c, &s->peer, channel, s->server.authenticated);
}

/* Whether the client has heard all that was said, as far as can be known. */
static bool take_leave(struct session *s) {
        if (session_ends[s->end].is_loss)
                return false;
        return (!session_ends[s->end].is_ours && s->receipt.n == 0) || channel_hang_up(s->channel);
}

static void finish(struct session *s) {
        /* all is to end, and its client, between messages, has heard the verdicts */
        bool is_brief = s->patience->stop_deadline != INT64_MAX &&
                        s->patience->stage == PATIENCE_IDLE && s->receipt.n == 0;

        on_reset(s);
        session_flush(s);
        if (is_brief)
                s->channel->linger_deadline = deadline_now() + BLINK;
        if (!take_leave(s))
                session_log_unheard(&s->log, &s->receipt);
        session_log_end(&s->log, s->end);
        tls_end(s->channel);
        mail_close(&s->mail);
        broker_stop();
}

/* Whether the strategy will be asked. */
static bool is_asking(const struct delivery_ops *strategy, const struct event *e) {
        switch (e->kind) {
        case SERVER_HELLO: return strategy->hello;
        case SERVER_RECIPIENT: return strategy->recipient || strategy->put;
        case SERVER_AUTH:
        case SERVER_SENDER: /* no further message is begun */
        case SERVER_COLLECT: return true;
        case SERVER_END: return e->n == 0;
        default: return false;
        }
}

static void converse(struct session *s) {
        char nothing[1], *in = nothing;
        size_t n = 0;

        while (s->end == GOES_ON) {
                struct event event;
                size_t used = server_step(&s->server, in, n, &event);

                in += used;
                n -= used;
                session_log_trace_command(&s->log);
                if ((is_asking(s->mail.strategy, &event) && !check_time(s)) ||
                    !session_rules_ask(s, &event))
                        continue;
                switch (event.kind) {
                case SERVER_HELLO: on_hello(s, event.hello); break;
                case SERVER_AUTH: on_auth(s, &event); break;
                case SERVER_SENDER: on_sender(s, event.sender); break;
                case SERVER_RECIPIENT: on_recipient(s, event.recipient); break;
                case SERVER_COLLECT: on_collect(s, event.is_sender); break;
                case SERVER_DATA: on_data(s); break;
                case SERVER_TLS: session_start_tls(s, n); break;
                case SERVER_SECURE: session_secure(s); break;
                case SERVER_BODY: mail_append(&s->mail, event.data, event.n); break;
                case SERVER_REPLY: on_reply(s, &event); break;
                case SERVER_END: on_end(s, event.n); break;
                case SERVER_RESET: on_reset(s); break;
                case SERVER_CLOSE:
                        s->end = s->server.reply.code == 221 ? END_QUIT : END_REFUSED;
                        break;
                case SERVER_MORE: n = on_more(s, &in); break;
                }
                if (is_asking(s->mail.strategy, &event))
                        s->idle_at = deadline_after(IDLE_SECONDS);
        }
}

/* What the rules owe to who the client is. Own devices may not know better than LF. */
static void heed_peer(struct server_rules *rules, const struct config *c, const struct peer *p) {
        rules->auth = authentication_rule(c, p);
        for (size_t i = 0; i < c->bare_lf_from.n; i++)
                rules->lf_is_line_end |= peer_is_in(p, c->bare_lf_from.items[i]);
}

int session_run(const struct config *c, const struct peer *p, struct channel *channel,
                bool is_transcript) {
        static struct session s; /* large, and there is one in a process */
        const struct server_rules rules = { .hostname = c->hostname,
                                            .is_lmtp = c->is_lmtp,
                                            .lf_is_line_end = is_transcript,
                                            .qualify = c->qualify,
                                            .needs_domain = c->strategy->needs_domain,
                                            .extensions = EXTENSIONS_LOCAL,
                                            .max_size = c->max_size,
                                            .max_recipients = (unsigned) c->max_recipients,
                                            .max_commands = (unsigned) c->max_commands,
                                            .max_errors = (unsigned) c->max_errors,
                                            .tls = tls_find(c, channel, is_transcript) };
        int r = start(&s, c, p, channel);

        if (r < 0)
                return r;
        s.is_transcript = is_transcript;
        server_init(&s.server, &rules);
        if (!is_transcript && config_is_balancer(c, p))
                begin_with_header(&s);
        heed_peer(&s.server.rules, c, &s.peer);
        if (s.end == GOES_ON && rules.tls != SERVER_NO_TLS && c->tls == TLS_IMPLICIT)
                session_begin_with_tls(&s);
        session_rules_connect(&s);
        session_log_waiting(&s.log);
        converse(&s);
        finish(&s);
        return 0;
}
