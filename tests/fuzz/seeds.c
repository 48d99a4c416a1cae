/* SPDX-License-Identifier: MIT */
/* fuzz/seeds.c - makes the first inputs of the fuzzers from the transcripts.
 *
 * Usage: seeds DIRECTORY TRANSCRIPT... Writes server-N (the client of a session), session-N (the
 * same in pieces, see world.h), address-N (an argument) and reply-N (what the server says) into the
 * directory.
 */
#include <stdio.h>
#include <string.h>

#include "../transcripts/transcript.h"

static bool write_seed(const char *directory, const char *kind, unsigned number,
                       const char *choices, size_t n_choices, const struct text *t) {
        char path[4096];
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s-%u", directory, kind, number);
        f = fopen(path, "we");
        if (!f) {
                perror(path);
                return false;
        }
        fwrite(choices, 1, n_choices, f);
        if (t->n > 0)
                fwrite(t->data, 1, t->n, f);
        return fclose(f) == 0;
}

/* With each strategy: print, proxy, mailman. */
static bool write_pieces(const char *directory, const struct session *s, char limits) {
        static unsigned number;
        char choices[8] = { (char) (s->rules.is_lmtp | s->rules.lf_is_line_end << 1), 0, limits,
                            (char) (number % 3), 0x1e };
        struct text all = { 0 };
        bool is_good;

        for (size_t i = 0; i < s->n_items; i++)
                if (s->items[i].kind == ITEM_CLIENT) {
                        if (i == 0 || s->items[i - 1].kind != ITEM_CLIENT)
                                text_add(&all, "\xfe", 1);
                        text_add(&all, s->items[i].text.data, s->items[i].text.n);
                }
        is_good = all.n > 8000;
        for (; !is_good && choices[1] < 3 &&
               write_seed(directory, "session", number++, choices, sizeof(choices), &all);
             choices[1]++)
                is_good = choices[1] == 2;
        text_clear(&all);
        return is_good;
}

static char limits(const struct session *s) {
        return (char) ((s->rules.max_size == 100 ? 2 : 0) |
                       (s->rules.max_recipients == 2 ? 2 << 2 : 0) |
                       (s->rules.max_errors == 3 ? 2 << 6 : 0));
}

static bool write_session(const char *directory, const struct session *s) {
        static unsigned number;
        static const unsigned tls[] = { 0, 0x40, 0xc0 }, auth[] = { 0, 0x04, 0x84 };
        char choices[8] = { (char) (s->rules.is_lmtp | s->rules.lf_is_line_end << 1 |
                                    auth[s->rules.auth]),
                            (char) (number % 7 | tls[s->rules.tls]), limits(s) };
        struct text all = { 0 };
        bool is_good;

        for (size_t i = 0; i < s->n_items; i++)
                if (s->items[i].kind == ITEM_CLIENT)
                        text_add(&all, s->items[i].text.data, s->items[i].text.n);
        is_good = all.n > 20000 ||
                  write_seed(directory, "server", number++, choices, sizeof(choices), &all);
        text_clear(&all);
        return is_good;
}

static bool write_reply(const char *directory, const struct item *item) {
        static unsigned number;
        struct text reply = { 0 };
        bool is_good;

        text_add(&reply, item->text.data, item->text.n);
        text_add(&reply, "\r\n", 2);
        is_good = write_seed(directory, "reply", number++, "\1", 1, &reply);
        text_clear(&reply);
        return is_good;
}

/* What follows "MAIL FROM:" and "RCPT TO:". */
static bool write_argument(const char *directory, const struct item *item) {
        static unsigned number;
        const char *colon = memchr(item->text.data, ':', item->text.n);
        struct text argument = { 0 };
        bool is_good;

        if (!colon ||
            (strncmp(item->text.data, "MAIL", 4) != 0 && strncmp(item->text.data, "RCPT", 4) != 0))
                return true;
        text_add(&argument, colon + 1, strcspn(colon + 1, "\r\n"));
        is_good = write_seed(directory, "address", number++, "\3", 1, &argument);
        text_clear(&argument);
        return is_good;
}

/* Replies at their limits: long lines, many lines, much text. */
static bool write_long_replies(const char *directory) {
        static const struct {
                size_t n_text, n_lines;
        } shapes[] = { { 996, 1 }, { 1200, 1 }, { 499, 3 }, { 600, 3 },
                       { 10, 45 }, { 0, 60 },   { 24, 41 } };
        bool is_good = true;

        for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]) && is_good; i++) {
                struct text reply = { 0 };

                for (size_t line = 1; line <= shapes[i].n_lines; line++) {
                        text_add(&reply, line < shapes[i].n_lines ? "550-" : "550 ", 4);
                        for (size_t k = 0; k < shapes[i].n_text; k++)
                                text_add(&reply, "x", 1);
                        text_add(&reply, "\r\n", 2);
                }
                is_good = write_seed(directory, "reply-long", i, "\1", 1, &reply);
                text_clear(&reply);
        }
        return is_good;
}

/* The seeds of one transcript. */
static bool write_transcript(const char *directory, const char *path) {
        struct transcript t;
        bool is_good = transcript_read(path, &t);

        for (struct session *s = t.sessions; is_good && s < t.sessions + t.n; s++) {
                is_good = write_session(directory, s) && write_pieces(directory, s, limits(s));
                for (struct item *item = s->items; is_good && item < s->items + s->n_items; item++)
                        if (item->kind == ITEM_CLIENT)
                                is_good = write_argument(directory, item);
                        else if (item->kind == ITEM_SERVER)
                                is_good = write_reply(directory, item);
        }
        transcript_clear(&t);
        return is_good;
}

int main(int argc, char **argv) {
        bool is_good = argc > 2 && write_long_replies(argv[1]);

        for (int i = 2; i < argc && is_good; i++)
                is_good = write_transcript(argv[1], argv[i]);
        return !is_good;
}
