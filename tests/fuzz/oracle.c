/* SPDX-License-Identifier: MIT */
/* fuzz/oracle.c - what a client must believe that it delivered. RFC 5321
 * sections 2.3.8, 4.1.1.4, 4.5.2. */
#include "oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "oracle_chunks.h"

void oracle_fail(const struct oracle *o, const char *what, const char *file, int line) {
        fprintf(stderr, "%s:%d: not so: %s (octet %zu, event %zu)\n", file, line, what, o->at,
                o->record);
        abort();
}

const struct record *oracle_hear(struct oracle *o, enum event_kind kind) {
        for (size_t i = o->record; i < o->log->n; i++) {
                const struct record *r = o->log->records + i;

                if (r->kind == kind) {
                        o->record = i + 1;
                        return r;
                }
                if (r->kind == SERVER_REPLY)
                        return NULL;
        }
        return NULL;
}

bool oracle_is_closed_next(const struct oracle *o) {
        struct oracle copy = *o;

        return oracle_hear(&copy, SERVER_REPLY) && oracle_hear(&copy, SERVER_CLOSE);
}

bool oracle_is_closed(struct oracle *o) {
        struct oracle copy = *o;

        return oracle_hear(&copy, SERVER_CLOSE);
}

/* A line, as text without its line end. */
enum line { LINE_WHOLE, LINE_INCOMPLETE, LINE_BROKEN };

static enum line next_line(struct oracle *o, const char **ret, size_t *ret_n) {
        const char *text = o->in + o->at, *lf = memchr(text, '\n', o->n - o->at);
        size_t n = lf ? (size_t) (lf - text) : o->n - o->at;
        bool has_cr = n > 0 && text[n - 1] == '\r';

        if (n > 0 && memchr(text, '\r', n - 1)) /* one before the last octet */
                return LINE_BROKEN;
        if (!lf)
                return LINE_INCOMPLETE;
        if (!has_cr && !o->rules->lf_is_line_end)
                return LINE_BROKEN;
        *ret = text;
        *ret_n = has_cr ? n - 1 : n;
        o->at += n + 1;
        return LINE_WHOLE;
}

/* The session must have ended here, with this reply. */
static void hear_end(struct oracle *o, short code) {
        const struct record *r = oracle_hear(o, SERVER_REPLY);

        must(r && r->code == code);
        must(oracle_hear(o, SERVER_CLOSE));
        must(o->record == o->log->n);
}

void oracle_hear_nothing(struct oracle *o) {
        must(!oracle_hear(o, SERVER_REPLY) && !oracle_hear(o, SERVER_CLOSE) &&
             !oracle_hear(o, SERVER_END));
}

/* --- a message -------------------------------------------------------------------------------- */

/* Reads lines until the dot. */
static enum line read_message(struct oracle *o, struct text *ret) {
        const char *line;
        size_t n;
        enum line status;

        while ((status = next_line(o, &line, &n)) == LINE_WHOLE) {
                if (n == 1 && *line == '.')
                        return LINE_WHOLE;
                if (n > 0 && *line == '.')
                        line++, n--;
                text_add(ret, line, n);
                text_add(ret, "\n", 1);
        }
        return status;
}

bool oracle_is_too_big(const struct oracle *o, const struct text *message) {
        struct oracle copy = *o;
        size_t size = message->n;

        /* before any reply but 353 */
        if (o->rules->max_size == ORACLE_ANY_SIZE && !oracle_hear(&copy, SERVER_END)) {
                const struct record *reply = oracle_hear(&copy, SERVER_REPLY);

                return !reply || reply->code != 353;
        }
        if (o->rules->max_size == ORACLE_ANY_SIZE)
                return false;
        for (size_t i = 0; i < message->n; i++)
                size += message->data[i] == '\n';
        return o->rules->max_size > 0 && size > o->rules->max_size;
}

/* The next reply, of this class at least. */
static void hear_code(struct oracle *o, short code) {
        const struct record *r = oracle_hear(o, SERVER_REPLY);

        must(r && r->code / 100 == code / 100);
}

void oracle_end_transaction(struct oracle *o) {
        o->n_recipients = 0;
        o->is_in_chunks = false;
        text_clear(&o->chunks);
}

bool oracle_judge_delivery(struct oracle *o, const struct text *message, short flaw) {
        bool is_big = flaw || oracle_is_too_big(o, message);
        bool is_prdr = o->is_prdr && o->n_recipients > 1 && !is_big;
        unsigned n_replies = o->rules->is_lmtp || is_prdr ? o->n_recipients : 1;
        short best = 0;

        must(n_replies > 0);
        if (is_prdr)
                hear_code(o, 353);
        for (unsigned i = 0; i < n_replies; i++) {
                const struct record *end = oracle_hear(o, SERVER_END), *reply;

                must(!end == is_big);
                must(is_big || end->index == i);
                must(is_big || i > 0 || text_equal(&end->text, message));
                reply = oracle_hear(o, SERVER_REPLY);
                must(reply && (!is_big || reply->code == (flaw ? flaw : 552)));
                if (best == 0 || reply->code / 100 < best / 100)
                        best = reply->code;
                if (oracle_is_closed(o))
                        return false;
        }
        if (is_prdr)
                hear_code(o, best);
        if (oracle_is_closed(o))
                return false;
        oracle_end_transaction(o);
        return true;
}

/* false if the session is over. */
static bool judge_message(struct oracle *o) {
        struct text message = { 0 };
        enum line status = read_message(o, &message);
        bool goes_on = false;

        if (status == LINE_BROKEN)
                hear_end(o, 554);
        else if (status == LINE_INCOMPLETE)
                oracle_hear_nothing(o);
        else
                goes_on = oracle_judge_delivery(o, &message, 0);
        text_clear(&message);
        return goes_on;
}

/* --- commands --------------------------------------------------------------------------------- */

static bool has_verb(const char *line, size_t n, const char *verb) {
        size_t n_verb = strlen(verb);

        if (n < n_verb || strncasecmp(line, verb, n_verb) != 0)
                return false;
        return n == n_verb || line[n_verb] == ' ' || line[n_verb] == '\t';
}

/* Whether MAIL has that parameter, after its path. */
static bool has_parameter(const char *line, size_t n, const char *parameter) {
        bool is_quoted = false, is_path = true;
        size_t n_parameter = strlen(parameter), at = strlen("MAIL");

        while (at < n && line[at] == ' ')
                at++;
        for (at += strlen("FROM:"); at < n && line[at] == ' ';)
                at++;
        for (; at < n; at++) {
                is_quoted ^= is_path && line[at] == '"';
                at += is_path && line[at] == '\\';
                if (at >= n || is_quoted || line[at] != ' ')
                        continue;
                is_path = false;
                if (n - at > n_parameter &&
                    strncasecmp(line + at + 1, parameter, n_parameter) == 0 &&
                    (n - at - 1 == n_parameter || strchr(" \t", line[at + 1 + n_parameter])))
                        return true;
        }
        return false;
}

/* After a refused DATA a line is obeyed only if none of a message looks like that (a tab ends no
 * verb, but may end the line). One with a NUL is not obeyed, and changes nothing. */
static void judge_content(struct oracle *o, const char *line, size_t n,
                          const struct record *reply) {
        static const char *const may_follow[] = { "HELO", "EHLO", "LHLO", "MAIL",
                                                  "RCPT", "RSET", "NOOP", "QUIT" };
        bool is_allowed = false;

        for (size_t i = 0; i < sizeof(may_follow) / sizeof(may_follow[0]); i++)
                is_allowed |= has_verb(line, n, may_follow[i]);
        must(!o->is_data_refused || is_allowed || oracle_is_closed(o));
        o->is_data_refused &= memchr(line, '\0', n) != NULL;
        o->is_data_refused |=
                has_verb(line, n, "DATA") && !memchr(line, '\t', n) && reply->code != 354;
}

/* A line of an exchange, or the AUTH that begins one. The third refusal of whoever was asked is the
 * last. false if the session is over. */
static bool judge_exchange(struct oracle *o) {
        bool is_asked = oracle_hear(o, SERVER_AUTH);
        const struct record *reply = oracle_hear(o, SERVER_REPLY);

        must(reply && (is_asked || !is_positive(reply)));
        o->is_in_exchange = reply->code == 334;
        o->is_auth_refused = reply->code >= 400;
        if (oracle_is_closed(o))
                return false;
        o->n_auth_refusals += is_asked && o->is_auth_refused;
        if (o->n_auth_refusals < 3)
                return true;
        hear_end(o, 421);
        return false;
}

/* After a refused AUTH a line that is no command may be a response. */
static void judge_known(struct oracle *o, const char *line, size_t n) {
        static const char *const verbs[] = { "HELO", "EHLO", "LHLO", "MAIL",     "RCPT",
                                             "RSET", "NOOP", "QUIT", "STARTTLS", "AUTH",
                                             "DATA", "VRFY", "EXPN", "BDAT",     "HELP" };
        bool is_known = false;

        for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
                is_known |= has_verb(line, n, verbs[i]);
        must(!o->is_auth_refused || is_known || oracle_is_closed_next(o));
        o->is_auth_refused = false;
}

/* --- a session -------------------------------------------------------------------------------- */

/* What ends a transaction whose message has begun. */
static void judge_order(struct oracle *o, const char *line, size_t n, const struct record *reply) {
        bool ends = has_verb(line, n, "RSET") || has_verb(line, n, "HELO") ||
                    has_verb(line, n, "EHLO") || has_verb(line, n, "LHLO") ||
                    has_verb(line, n, "QUIT");
        bool adds = has_verb(line, n, "MAIL") || has_verb(line, n, "RCPT");

        must(!o->is_in_chunks || !adds || !is_positive(reply));
        must(!o->is_in_chunks || reply->code != 354);
        if (ends && is_positive(reply))
                oracle_end_transaction(o);
}

/* false if the session is over. */
static bool judge_command(struct oracle *o, const char *line, size_t n) {
        bool is_auth = has_verb(line, n, "AUTH") && !memchr(line, '\t', n) && !o->is_data_refused;
        const struct record *reply;
        const char *args;

        judge_known(o, line, n);
        if (is_auth)
                return judge_exchange(o);
        if (oracle_is_chunk(line, n, &args))
                return oracle_judge_bdat(o, args, n - 4);
        reply = oracle_hear(o, SERVER_REPLY);

        must(reply);
        must(reply->code != 354 || has_verb(line, n, "DATA"));
        judge_content(o, line, n, reply);
        judge_order(o, line, n, reply);
        if (oracle_is_closed(o))
                return false;
        if (has_verb(line, n, "MAIL") && is_positive(reply)) {
                o->n_recipients = 0;
                o->is_prdr = has_parameter(line, n, "PRDR");
        }
        if (has_verb(line, n, "RCPT") && is_positive(reply))
                o->n_recipients++;
        return reply->code != 354 || judge_message(o);
}

static void judge(struct oracle *o) {
        const struct record *greeting = oracle_hear(o, SERVER_REPLY);
        const char *line;
        size_t n_line;
        enum line status;

        must(greeting && greeting->code == 220);
        if (o->n > 0 && *o->in == '\x16') {
                hear_end(o, 554);
                return;
        }
        while ((status = next_line(o, &line, &n_line)) == LINE_WHOLE)
                if (!(o->is_in_exchange ? judge_exchange(o) : judge_command(o, line, n_line))) {
                        must(o->record == o->log->n || oracle_is_closed(o));
                        return;
                }
        if (status == LINE_BROKEN)
                hear_end(o, 554);
        else
                oracle_hear_nothing(o);
}

void oracle_judge(const char *in, size_t n, const struct server_rules *rules,
                  const struct log *log) {
        struct oracle o = { .in = in, .n = n, .rules = rules, .log = log };

        judge(&o);
        text_clear(&o.chunks);
}
