/* SPDX-License-Identifier: MIT */
/* test-batch.c - deferred answers: a caller that collects them later gives its client the same
 * replies, in the same order, as one that answers at once.
 *
 * A client sends MAIL and RCPTs in one piece. What becomes of each RCPT is accepted there, refused
 * there, 4xx there, or refused here; every mix of these for eight recipients is tried, with MAIL
 * accepted, and some with MAIL refused.
 */
#include "smtp/server.h"

#include <stdio.h>

#include "unit.h"

#ifdef __SANITIZE_ADDRESS__
enum { N = 5 };
#else
enum { N = 8 };
#endif

/* The address says what becomes of a recipient. */
static const struct kind {
        const char *line;
        int code;          /* of the destination's answer */
        bool is_postponed; /* it can only be answered when all before it are */
} kinds[] = {
        { "RCPT TO:<yes@there>\r\n", 250, false },   { "RCPT TO:<no@there>\r\n", 550, false },
        { "RCPT TO:<later@there>\r\n", 450, false }, { "RCPT TO:<here@there>\r\n", 551, true },
        { "RCPT TO:<syntax\r\n", 0, false },         { "RCPT TO:<no-domain>\r\n", 0, false },
};
enum { N_KINDS = sizeof(kinds) / sizeof(kinds[0]), N_MIXED = 4 };

/* Of a mix, the kind of recipient i. What is refused here is so in three ways, in turn. */
static const struct kind *kind_of(unsigned digit, int i) {
        return kinds + digit + (digit == 3 ? i % 3 : 0);
}

struct run {
        struct server server;
        bool is_deferring;
        int mail;           /* the answer to MAIL */
        int pending[N + 1]; /* answers that were not collected yet */
        unsigned n_pending, n_asked_at_once;
        char log[400]; /* what the client hears */
};

static int answer_to(const struct recipient *r) {
        for (size_t i = 0; i < N_KINDS; i++)
                if (kinds[i].code && strstr(kinds[i].line, r->address.text))
                        return kinds[i].code;
        ck_abort_msg("nobody asked for %s", r->address.text);
}

static void answer(struct run *r, int code) {
        struct reply reply;

        reply_set(&reply, code, "", "so it is");
        server_answer(&r->server, &reply);
}

static void on_recipient(struct run *r, const struct recipient *recipient) {
        int code = answer_to(recipient);

        if (!r->is_deferring || (code == 551 && r->server.n_deferred == 0))
                answer(r, code);
        else if (code == 551)
                server_postpone(&r->server);
        else {
                r->pending[r->n_pending++] = code;
                server_defer(&r->server);
        }
}

static void on_sender(struct run *r) {
        if (!r->is_deferring)
                answer(r, r->mail);
        else {
                r->pending[r->n_pending++] = r->mail;
                server_defer(&r->server);
        }
}

static void on_collect(struct run *r, bool is_sender) {
        int code = r->pending[0];

        ck_assert(r->n_pending > 0);
        ck_assert_uint_eq(r->n_pending, r->server.n_deferred);
        ck_assert(!is_sender || code == r->mail);
        if (r->n_pending > r->n_asked_at_once)
                r->n_asked_at_once = r->n_pending;
        memmove(r->pending, r->pending + 1, --r->n_pending * sizeof(r->pending[0]));
        answer(r, code);
}

/* With whom it refuses. */
static void note_reply(struct run *r, const struct event *e) {
        static const char *const refused[] = { "", "s", "r", "m" };

        sprintf(r->log + strlen(r->log), "%d%s ", e->reply->code, refused[e->refused]);
}

static void on_event(struct run *r, const struct event *e) {
        switch (e->kind) {
        case SERVER_HELLO:
                server_offer(&r->server,
                             &(struct offer) { EXTENSIONS_ALL, 0, r->server.rules.max_recipients },
                             "");
                break;
        case SERVER_SENDER: on_sender(r); break;
        case SERVER_RECIPIENT: on_recipient(r, e->recipient); break;
        case SERVER_COLLECT: on_collect(r, e->is_sender); break;
        case SERVER_DATA: answer(r, 354); break;
        case SERVER_REPLY: note_reply(r, e); break;
        default: break;
        }
}

/* Feeds it in pieces of `piece` octets. */
static void play(struct run *r, const char *text, size_t piece) {
        char in[600];
        size_t n = strlen(text);

        for (size_t at = 0; at < n; at += piece) {
                size_t left = n - at < piece ? n - at : piece, used = 0;
                struct event e;

                memcpy(in, text + at, left);
                do {
                        size_t taken = server_step(&r->server, in + used, left, &e);

                        used += taken;
                        left -= taken;
                        on_event(r, &e);
                } while (e.kind != SERVER_MORE && e.kind != SERVER_CLOSE);
        }
}

static void start(struct run *r, bool is_deferring, int mail, const struct server_rules *rules) {
        *r = (struct run) { .is_deferring = is_deferring, .mail = mail };
        server_init(&r->server, rules);
        r->server.rules.needs_domain = true;
        play(r, "EHLO client\r\n", 100);
}

static const struct server_rules generous = {
        .hostname = "h", .max_recipients = 100, .max_commands = 100, .max_errors = 100
};
static const int mails[] = { 250, 450, 550 };

/* The text of a mix, a digit (in base 4) for each recipient. */
static void make_group(char *ret, unsigned mix) {
        char *end = stpcpy(ret, "MAIL FROM:<a@b>\r\n");

        for (int i = 0; i < N; i++, mix /= N_MIXED)
                end = stpcpy(end, kind_of(mix % N_MIXED, i)->line);
        strcpy(end, "NOOP\r\n");
}

START_TEST(every_mix_is_answered_in_order) {
        unsigned n_mixes = 1;

        for (int i = 0; i < N; i++)
                n_mixes *= N_MIXED;
        for (unsigned mix = 0; mix < n_mixes; mix += unit_step() * (mails[_i] == 250 ? 1 : 13)) {
                static struct run at_once, later;
                char group[500];

                make_group(group, mix);
                start(&at_once, false, mails[_i], &generous);
                play(&at_once, group, sizeof(group));
                start(&later, true, mails[_i], &generous);
                play(&later, group, sizeof(group));
                ck_assert_uint_eq(later.n_pending, 0);
                ck_assert_uint_eq(later.server.n_recipients, at_once.server.n_recipients);
                ck_assert_msg(strcmp(later.log, at_once.log) == 0, "%s: %s instead of %s", group,
                              later.log, at_once.log);
        }
}
END_TEST

/* The mixes of one kind after another, in pieces of each size. */
START_TEST(however_it_is_cut) {
        char group[500];

        make_group(group, 1 + 4 * (2 + 4 * (3 + 4 * (0 + 4 * 3))));
        for (size_t piece = 1; piece < strlen(group); piece++) {
                static struct run at_once, later;

                start(&at_once, false, mails[_i], &generous);
                play(&at_once, group, sizeof(group));
                start(&later, true, mails[_i], &generous);
                play(&later, group, piece);
                ck_assert_str_eq(later.log, at_once.log);
        }
}
END_TEST

START_TEST(a_batch_is_asked_at_once) {
        static struct run r;
        char group[500];

        make_group(group, 0);
        start(&r, true, 250, &generous);
        play(&r, group, sizeof(group));
        ck_assert_uint_eq(r.n_asked_at_once, N + 1);
}
END_TEST

/* MAIL takes nobody's place. */
START_TEST(as_many_as_there_may_be_are_asked_at_once) {
        const struct server_rules rules = {
                .hostname = "h", .max_recipients = N, .max_commands = 100, .max_errors = 100
        };
        static struct run r;
        char group[500];

        make_group(group, 0);
        start(&r, true, 250, &rules);
        play(&r, group, sizeof(group));
        ck_assert_uint_eq(r.n_asked_at_once, N + 1);
}
END_TEST

/* What ends a session in mid-batch comes after the answers to what came before it. */
static const struct {
        struct server_rules rules;
        const char *last, *log;
} ends[] = {
        { { .hostname = "h", .max_recipients = 100, .max_commands = 4, .max_errors = 9 },
          "RCPT TO:<yes@there>\r\n",
          "220 250 250 250 250 421 " },
        { { .hostname = "h", .max_recipients = 100, .max_commands = 99, .max_errors = 0 },
          "RCPT TO:<no@there\r\nNOOP\r\n",
          "220 250 250 250 250 421 " },
        { { .hostname = "h", .max_recipients = 100, .max_commands = 99, .max_errors = 9 },
          "RCPT TO:<yes@there>\n",
          "220 250 250 250 250 554 " },
        { { .hostname = "h", .max_recipients = 100, .max_commands = 99, .max_errors = 9 },
          "RCPT TO:\r<yes@there>\r\n",
          "220 250 250 250 250 554 " },
        { { .hostname = "h", .max_recipients = 2, .max_commands = 99, .max_errors = 9 },
          "RCPT TO:<yes@there>\r\n",
          "220 250 250 250 250 452r " },
};

START_TEST(an_end_does_not_overtake) {
        static struct run r;
        char group[300] = "MAIL FROM:<a@b>\r\nRCPT TO:<yes@there>\r\nRCPT TO:<yes@there>\r\n";

        start(&r, true, 250, &ends[_i].rules);
        play(&r, strcat(group, ends[_i].last), sizeof(group));
        ck_assert_str_eq(r.log, ends[_i].log);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("batch");
        TCase *batch = unit_tcase(suite, "batch");

        UNIT_TABLE(batch, every_mix_is_answered_in_order, mails);
        UNIT_TABLE(batch, however_it_is_cut, mails);
        tcase_add_test(batch, a_batch_is_asked_at_once);
        tcase_add_test(batch, as_many_as_there_may_be_are_asked_at_once);
        UNIT_TABLE(batch, an_end_does_not_overtake, ends);
        return unit_run(suite);
}
