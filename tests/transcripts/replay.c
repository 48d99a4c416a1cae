/* SPDX-License-Identifier: MIT */
/* transcripts/replay.c - plays transcripts to the core and compares what it says, and with what
 * they expect.
 *
 * Usage: replay FILE... Each session is played
 *   - as it stands: a burst of lines, then the answers to it, with each burst whole and cut into
 * pieces, and
 *   - with all that the client says in one burst, whole and cut into pieces;
 * and the events must be the same every time (after a "Q:" the second kind of client is closed; see
 * README.md).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transcript.h"

static const size_t pieces[] = { SIZE_MAX, 1, 2, 3, 5, 7, 16, 64, 1000 };
enum { N_PIECES = sizeof(pieces) / sizeof(pieces[0]) };

/* --- verdicts --------------------------------------------------------------------------------- */

static void give_verdict(void *userdata, enum event_kind question, const char *address,
                         struct reply *ret) {
        const struct session *s = userdata;

        for (const struct answer *a = s->answers; a < s->answers + s->n_answers; a++)
                if (a->question == question && (!*a->address || strcmp(a->address, address) == 0)) {
                        *ret = a->reply;
                        return;
                }
        if (question == SERVER_AUTH)
                return;
        if (question == SERVER_DATA)
                reply_set(ret, 354, "", "go on");
        else if (question == SERVER_TLS)
                reply_set(ret, 220, "2.0.0", "ready to start TLS");
        else
                reply_set(ret, 250,
                          question == SERVER_SENDER      ? "2.1.0"
                          : question == SERVER_RECIPIENT ? "2.1.5"
                                                         : "2.0.0",
                          "OK");
}

static void start(struct player *p, struct session *s) {
        *p = (struct player) {
                .name = s->name,
                .rules = s->rules,
                .offer = s->offer,
                .mechanisms = s->mechanisms,
                .verdict = give_verdict,
                .userdata = s,
        };
        p->rules.hostname = s->hostname;
        p->rules.qualify = *s->qualify ? s->qualify : NULL;
        player_start(p);
}

/* --- what is expected ------------------------------------------------------------------------- */

/* Reads the items of a session in step with the log of what came. */
struct reader {
        const struct session *session;
        size_t item;
        size_t record;
        bool is_good;
};

static const struct item *next_item(struct reader *r) {
        const struct session *s = r->session;

        return r->item < s->n_items && s->items[r->item].kind != ITEM_CLIENT ? s->items + r->item
                                                                             : NULL;
}

static void complain(struct reader *r, const char *expected, const char *got) {
        const struct session *s = r->session;
        unsigned line = s->n_items == 0
                                ? 0
                                : s->items[r->item < s->n_items ? r->item : s->n_items - 1].line;

        fprintf(stderr, "%s\n  line %u: expected %s\n  %*s got      %s\n", s->name, line, expected,
                snprintf(NULL, 0, "line %u:", line), "", got);
        r->is_good = false;
}

/* An expected line is given in full, or without its text. */
static bool is_expected(const char *expected, const char *got) {
        struct reply want, have;

        if (strcmp(expected, got) == 0)
                return true;
        if (!reply_parse_line(expected, strlen(expected), &want) ||
            !reply_parse_line(got, strlen(got), &have))
                return false;
        return want.code == have.code && strcmp(want.enhanced, have.enhanced) == 0 &&
               *want.text == '\0' && (expected[3] == '-') == (got[3] == '-');
}

static void match_reply(struct reader *r, const struct record *record) {
        char *wire = strdup(record->text.data), *rest = wire, *line;

        while (r->is_good && (line = strsep(&rest, "\n")) && *line) {
                const struct item *item = next_item(r);

                line[strcspn(line, "\r")] = '\0';
                if (!item || item->kind != ITEM_SERVER)
                        complain(r, "no reply", line);
                else if (!is_expected(item->text.data, line))
                        complain(r, item->text.data, line);
                r->item++;
        }
        free(wire);
}

static void match_message(struct reader *r, const struct record *record) {
        const struct item *item = next_item(r);

        if (!item || item->kind != ITEM_MESSAGE)
                complain(r, "no message", record->text.data);
        else if (!text_equal(&item->envelope, &record->envelope))
                complain(r, item->envelope.data, record->envelope.data);
        else if (!text_equal(&item->text, &record->text))
                complain(r, item->text.n ? item->text.data : "an empty message", record->text.data);
        r->item++;
}

static void match_mark(struct reader *r, enum item_kind kind, const char *name) {
        const struct item *item = next_item(r);

        if (!item || item->kind != kind)
                complain(r, item && item->text.n ? item->text.data : "something else", name);
        r->item++;
}

/* Compares what has come since the last time with the items up to the next burst. */
static void match(struct reader *r, const struct log *log) {
        for (; r->is_good && r->record < log->n; r->record++) {
                const struct record *record = log->records + r->record;

                if (record->kind == SERVER_REPLY)
                        match_reply(r, record);
                else if (record->kind == SERVER_END && record->index == 0)
                        match_message(r, record);
                else if (record->kind == SERVER_CLOSE)
                        match_mark(r, ITEM_CLOSE, "X: the server closes");
        }
        if (r->is_good && next_item(r))
                complain(r, next_item(r)->text.n ? next_item(r)->text.data : "a message or X:",
                         "nothing");
}

/* --- ways to play ----------------------------------------------------------------------------- */

/* The session as it stands. */
static bool play_bursts(struct session *s, size_t piece, struct log *ret) {
        struct player p;
        struct reader r = { .session = s, .is_good = true };

        start(&p, s);
        player_feed(&p, "", 0, piece);
        match(&r, &p.log);
        while (r.is_good && r.item < s->n_items) {
                const struct item *burst = s->items + r.item++;

                if (p.is_closed)
                        complain(&r, "an open session", "a closed one");
                player_feed(&p, burst->text.data, burst->text.n, piece);
                match(&r, &p.log);
        }
        player_end(&p);
        *ret = p.log;
        return r.is_good;
}

/* The session with everything sent at once. */
static void play_at_once(struct session *s, size_t piece, struct log *ret) {
        struct text all = { 0 };
        struct player p;

        for (size_t i = 0; i < s->n_items; i++)
                if (s->items[i].kind == ITEM_CLIENT)
                        text_add(&all, s->items[i].text.data, s->items[i].text.n);
        text_add(&all, "", 0);
        start(&p, s);
        player_feed(&p, all.data, all.n, piece);
        player_end(&p);
        text_clear(&all);
        *ret = p.log;
}

static bool replay(struct session *s) {
        struct log first = { 0 };
        bool is_good = play_bursts(s, SIZE_MAX, &first);

        for (size_t i = 0; is_good && i < N_PIECES; i++) {
                struct log bursts, once;

                is_good = play_bursts(s, pieces[i], &bursts) &&
                          log_is_equal(&first, &bursts, s->name);
                play_at_once(s, pieces[i], &once);
                is_good = is_good && log_is_equal(&first, &once, s->name);
                if (!is_good)
                        fprintf(stderr, "  (in pieces of %zu octets)\n", pieces[i]);
                log_clear(&bursts);
                log_clear(&once);
        }
        log_clear(&first);
        return is_good;
}

int main(int argc, char **argv) {
        unsigned n_sessions = 0, n_bad = 0;

        for (int i = 1; i < argc; i++) {
                struct transcript t;
                bool is_read = transcript_read(argv[i], &t);

                n_bad += !is_read;
                for (size_t k = 0; is_read && k < t.n; k++, n_sessions++)
                        n_bad += !replay(t.sessions + k);
                transcript_clear(&t);
        }
        printf("%u sessions, %u bad\n", n_sessions, n_bad);
        return n_sessions == 0 || n_bad > 0;
}
