/* SPDX-License-Identifier: MIT */
/* fuzz/oracle.c - what a client must believe that it delivered. RFC 5321
 * sections 2.3.8, 4.1.1.4, 4.5.2; RFC 3030. */
#include "oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct oracle {
        const char *in;
        size_t n, at;
        const struct server_rules *rules;
        const struct log *log;
        size_t record;            /* of the log, next to be heard */
        unsigned n_recipients;    /* that were accepted */
        bool is_prdr;             /* each hears its verdict, and then there is one for all */
        bool is_data_refused;     /* the last command */
        bool is_auth_refused;     /* likewise */
        bool is_in_exchange;      /* of AUTH: the next line is no command */
        unsigned n_auth_refusals; /* by whoever was asked */
        bool is_in_chunks;        /* a chunk was accepted, and more are to come */
        struct text chunks;       /* the octets of those so far */
};

#define must(condition)                                                                            \
        do {                                                                                       \
                if (!(condition))                                                                  \
                        fail(o, #condition, __LINE__);                                             \
        } while (0)

static void fail(const struct oracle *o, const char *what, int line) {
        fprintf(stderr, "oracle.c:%d: not so: %s (octet %zu, event %zu)\n", line, what, o->at,
                o->record);
        abort();
}

/* The next record of this kind, before any reply that comes first. */
static const struct record *hear(struct oracle *o, enum event_kind kind) {
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

/* With the next reply. */
static bool is_closed_next(const struct oracle *o) {
        struct oracle copy = *o;

        return hear(&copy, SERVER_REPLY) && hear(&copy, SERVER_CLOSE);
}

static bool is_closed(struct oracle *o) {
        struct oracle copy = *o;

        return hear(&copy, SERVER_CLOSE);
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
        const struct record *r = hear(o, SERVER_REPLY);

        must(r && r->code == code);
        must(hear(o, SERVER_CLOSE));
        must(o->record == o->log->n);
}

/* Nothing may be left to be heard: the client has said no more. */
static void hear_nothing(struct oracle *o) {
        must(!hear(o, SERVER_REPLY) && !hear(o, SERVER_CLOSE) && !hear(o, SERVER_END));
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

static bool is_too_big(const struct oracle *o, const struct text *message) {
        struct oracle copy = *o;
        size_t size = message->n;

        /* before any reply but 353 */
        if (o->rules->max_size == ORACLE_ANY_SIZE && !hear(&copy, SERVER_END)) {
                const struct record *reply = hear(&copy, SERVER_REPLY);

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
        const struct record *r = hear(o, SERVER_REPLY);

        must(r && r->code / 100 == code / 100);
}

static void end_transaction(struct oracle *o) {
        o->n_recipients = 0;
        o->is_in_chunks = false;
        text_clear(&o->chunks);
}

/* A whole message: delivered as it was sent, or not delivered, since it is too big, or for `flaw`;
 * and all the replies that are due. */
static bool judge_delivery(struct oracle *o, const struct text *message, short flaw) {
        bool is_big = flaw || is_too_big(o, message);
        bool is_prdr = o->is_prdr && o->n_recipients > 1 && !is_big;
        unsigned n_replies = o->rules->is_lmtp || is_prdr ? o->n_recipients : 1;
        short best = 0;

        must(n_replies > 0);
        if (is_prdr)
                hear_code(o, 353);
        for (unsigned i = 0; i < n_replies; i++) {
                const struct record *end = hear(o, SERVER_END), *reply;

                must(!end == is_big);
                must(is_big || end->index == i);
                must(is_big || i > 0 || text_equal(&end->text, message));
                reply = hear(o, SERVER_REPLY);
                must(reply && (!is_big || reply->code == (flaw ? flaw : 552)));
                if (best == 0 || reply->code / 100 < best / 100)
                        best = reply->code;
                if (is_closed(o))
                        return false;
        }
        if (is_prdr)
                hear_code(o, best);
        if (is_closed(o))
                return false;
        end_transaction(o);
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
                hear_nothing(o);
        else
                goes_on = judge_delivery(o, &message, 0);
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

static bool is_positive(const struct record *reply) {
        return reply->code >= 200 && reply->code < 300;
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
        must(!o->is_data_refused || is_allowed || is_closed(o));
        o->is_data_refused &= memchr(line, '\0', n) != NULL;
        o->is_data_refused |=
                has_verb(line, n, "DATA") && !memchr(line, '\t', n) && reply->code != 354;
}

/* A line of an exchange, or the AUTH that begins one. The third refusal of whoever was asked is the
 * last. false if the session is over. */
static bool judge_exchange(struct oracle *o) {
        bool is_asked = hear(o, SERVER_AUTH);
        const struct record *reply = hear(o, SERVER_REPLY);

        must(reply && (is_asked || !is_positive(reply)));
        o->is_in_exchange = reply->code == 334;
        o->is_auth_refused = reply->code >= 400;
        if (is_closed(o))
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
        must(!o->is_auth_refused || is_known || is_closed_next(o));
        o->is_auth_refused = false;
}

/* --- chunks ----------------------------------------------------------------------------------- */

/* BDAT, and no blank but those between its words (a tab ends no verb, but may end the line). */
static bool is_chunk(const char *line, size_t n, const char **ret_args) {
        *ret_args = line + 4;
        return n >= 4 && strncasecmp(line, "BDAT", 4) == 0 &&
               (n == 4 || line[4] == ' ' || strspn(line + 4, " \t") >= n - 4);
}

/* false: nobody knows how long it is. */
static bool read_chunk(const char *args, size_t n, unsigned long long *ret_size,
                       bool *ret_is_last) {
        char text[2100], last[8] = "", more[2] = "";
        int n_words, at = 0;

        while (n > 0 && (args[n - 1] == ' ' || args[n - 1] == '\t'))
                n--;
        if (n >= sizeof(text))
                return false;
        memcpy(text, args, n);
        text[n] = '\0';
        /* Only ' ' is a blank, whatever sscanf() skips. */
        if (strcspn(text, "\t\v\f\r") < n)
                return false;
        n_words = sscanf(text, " %*[0-9]%n", &at);
        if (at == 0 || (text[at] != ' ' && text[at] != '\0') ||
            strspn(text, " ") + 31 < (size_t) at)
                return false;
        n_words = sscanf(text, "%llu %7s %1s", ret_size, last, more);
        *ret_is_last = n_words == 2 && strcasecmp(last, "LAST") == 0;
        return *ret_size <= INT64_MAX && (n_words == 1 || *ret_is_last);
}

/* Lines of what has come so far, and whether a CR or LF stands alone. */
static bool read_chunks(const struct oracle *o, bool is_last, struct text *ret) {
        const char *in = o->chunks.data;
        size_t n = o->chunks.n;

        for (size_t i = 0; i < n; i++) {
                bool is_cr = in[i] == '\r';

                if (is_cr && i + 1 < n ? in[i + 1] != '\n' : is_cr && is_last)
                        return false;
                if (in[i] == '\n' && !(i > 0 && in[i - 1] == '\r') && !o->rules->lf_is_line_end)
                        return false;
                if (!is_cr)
                        text_add(ret, in + i, 1);
        }
        if (is_last && n > 0 && in[n - 1] != '\n')
                text_add(ret, "\n", 1);
        return true;
}

/* A chunk, when all its octets have come. The first may be refused for whatever reason, and none
 * comes after one that is. */
static bool judge_chunk(struct oracle *o, bool is_last) {
        struct text message = { 0 };
        short flaw = read_chunks(o, is_last, &message) ? 0 : 554;
        struct oracle copy = *o;
        bool is_asked = hear(&copy, SERVER_END), goes_on;
        const struct record *reply = hear(&copy, SERVER_REPLY);

        must(reply);
        if (is_last &&
            (is_asked || reply->code == 353 || reply->code == 554 || reply->code == 552)) {
                goes_on = judge_delivery(o, &message, flaw);
                text_clear(&message);
                return goes_on;
        }
        must(!is_asked && hear(o, SERVER_REPLY));
        if (is_positive(reply)) {
                must(!is_last && !flaw && o->n_recipients > 0);
                must(o->rules->max_size == ORACLE_ANY_SIZE || !is_too_big(o, &message));
                o->is_in_chunks = true;
        } else {
                must(reply->code != 554 || flaw);
                must(reply->code != 552 || o->rules->max_size == ORACLE_ANY_SIZE ||
                     is_too_big(o, &message));
                must(reply->code == 554 || reply->code == 552 || reply->code == 421 ||
                     !o->is_in_chunks);
                end_transaction(o);
        }
        text_clear(&message);
        return !is_closed(o);
}

/* BDAT with its octets. false if the session is over. */
static bool judge_bdat(struct oracle *o, const char *args, size_t n) {
        unsigned long long size;
        bool is_last, is_known = read_chunk(args, n, &size, &is_last);
        struct oracle copy = *o;
        bool is_asked = hear(&copy, SERVER_END);

        if (!is_asked && is_closed_next(o)) {
                const struct record *reply = hear(o, SERVER_REPLY);

                must(reply->code == 421 || (reply->code == 501 && !is_known) ||
                     (reply->code == 500 && n > 2000) ||
                     (reply->code == 554 && o->is_data_refused));
                return false;
        }
        must(is_known && !o->is_data_refused);
        if (size > o->n - o->at) {
                hear_nothing(o);
                o->record = o->log->n;
                return false;
        }
        if (!o->is_in_chunks)
                text_clear(&o->chunks);
        text_add(&o->chunks, o->in + o->at, (size_t) size);
        o->at += (size_t) size;
        return judge_chunk(o, is_last);
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
                end_transaction(o);
}

/* false if the session is over. */
static bool judge_command(struct oracle *o, const char *line, size_t n) {
        bool is_auth = has_verb(line, n, "AUTH") && !memchr(line, '\t', n) && !o->is_data_refused;
        const struct record *reply;
        const char *args;

        judge_known(o, line, n);
        if (is_auth)
                return judge_exchange(o);
        if (is_chunk(line, n, &args))
                return judge_bdat(o, args, n - 4);
        reply = hear(o, SERVER_REPLY);

        must(reply);
        must(reply->code != 354 || has_verb(line, n, "DATA"));
        judge_content(o, line, n, reply);
        judge_order(o, line, n, reply);
        if (is_closed(o))
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
        const struct record *greeting = hear(o, SERVER_REPLY);
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
                        must(o->record == o->log->n || is_closed(o));
                        return;
                }
        if (status == LINE_BROKEN)
                hear_end(o, 554);
        else
                hear_nothing(o);
}

void oracle_judge(const char *in, size_t n, const struct server_rules *rules,
                  const struct log *log) {
        struct oracle o = { .in = in, .n = n, .rules = rules, .log = log };

        judge(&o);
        text_clear(&o.chunks);
}
