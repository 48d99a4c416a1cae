/* SPDX-License-Identifier: MIT */
/* fuzz/destination.c - the message at the destination: whole, with what we add to it, and for the
 * recipients whose verdict was positive. */
#include "destination.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define must world_must

/* Received, which is folded into three or four lines. Returns its octets. */
static size_t received_length(const struct text *t) {
        static const char *const beginnings[] = { "Received: from ",
                                                  "\tby mx.example.com (smtpd) with ", "\tfor <",
                                                  "\t" };
        size_t at = 0;

        for (unsigned i = 0; i < 4; i++) {
                size_t n = strlen(beginnings[i]);
                const char *lf = at < t->n ? memchr(t->data + at, '\n', t->n - at) : NULL;

                must(lf);
                if (i == 2 && strncmp(t->data + at, beginnings[i], n) != 0)
                        continue;
                must(strncmp(t->data + at, beginnings[i], n) == 0);
                for (const char *p = t->data + at + 1; p < lf; p++)
                        must((unsigned char) *p >= ' ' && *p != '\x7f');
                at = (size_t) (lf - t->data) + 1;
        }
        must(strncmp(t->data + at - 7, " +0000\n", 7) == 0);
        return at;
}

/* The text with X-Peer as its last header. */
static void add_x_peer(const struct given *g, struct text *ret) {
        const struct text *text = &g->text;
        const char *end = text->n > 0 ? memmem(text->data, text->n, "\n\n", 2) : NULL;
        size_t n = text->n > 0 && text->data[0] == '\n' ? 0
                   : end                                ? (size_t) (end - text->data) + 1
                                                        : text->n;
        char x_peer[100] = "";

        if (g->x_peer)
                snprintf(x_peer, sizeof(x_peer), "X-Peer: %s\n", g->x_peer);
        text_add(ret, text->data, n);
        text_add(ret, x_peer, strlen(x_peer));
        if (text->n > n)
                text_add(ret, text->data + n, text->n - n);
}

/* The octets of the line, with its LF, if it is a field, the continuation of one, or an mbox's
 * separator; else 0. */
static size_t field_length(const char *text, size_t n, bool is_first) {
        const char *lf = memchr(text, '\n', n);
        size_t length = lf ? (size_t) (lf - text) + 1 : n, n_name = 0;

        if (text[0] == ' ' || text[0] == '\t')
                return is_first ? 0 : length;
        while (n_name < length && text[n_name] > ' ' && text[n_name] != ':' && text[n_name] != 0x7f)
                n_name++;
        for (size_t at = n_name; n_name > 0 && at < length; at++)
                if (text[at] == ':')
                        return length;
                else if (text[at] != ' ' && text[at] != '\t')
                        break;
        return is_first && length > 4 && memcmp(text, "From ", 5) == 0 ? length : 0;
}

/* The text as it is passed on: X-Peer is the last of its fields, and what is no field comes after
 * an empty line. */
static void add_passed_on(const struct given *g, struct text *ret) {
        const struct text *text = &g->text;
        size_t n = 0, n_line;
        char end[100] = "";

        while (n < text->n && (n_line = field_length(text->data + n, text->n - n, n == 0)) > 0)
                n += n_line;
        if (n >= 5 && memcmp(text->data, "From ", 5) == 0 &&
            text->data[5 + strspn(text->data + 5, " \t")] != ':')
                text_add(ret, "X-Mailbox-Line: ", 16);
        if (g->x_peer)
                snprintf(end, sizeof(end), "X-Peer: %s\n", g->x_peer);
        if (n > 0)
                text_add(ret, text->data, n);
        text_add(ret, end, strlen(end));
        if (text->n > n && text->data[n] != '\n')
                text_add(ret, "\n", 1);
        if (text->n > n)
                text_add(ret, text->data + n, text->n - n);
}

void destination_judge_printed(struct given *g, const struct envelope *e) {
        static const char before[] = "---------- MESSAGE FOLLOWS ----------\n",
                          after[] = "------------ END MESSAGE ------------\n";
        struct text want = { 0 };
        const char *err;
        size_t n;

        g->printed_to = n = world_stderr(&err);
        text_add(&want, before, sizeof(before) - 1);
        add_x_peer(g, &want);
        text_add(&want, after, sizeof(after) - 1);
        must(n - g->printed_from == want.n &&
             memcmp(err + g->printed_from, want.data, want.n) == 0);
        for (size_t i = 0; i < e->n_addressees; i++)
                must(g->is_positive[i]);
        text_clear(&want);
}

/* The addressee from `from` on that has this address, and a copy of its own. */
static size_t find_addressee(const struct envelope *e, size_t from, const char *address, size_t n) {
        while (from < e->n_addressees &&
               (e->addressees[from].same ||
                strlen(e->addressees[from].recipient.address.text) != n ||
                memcmp(e->addressees[from].recipient.address.text, address, n) != 0))
                from++;
        must(from < e->n_addressees);
        return from;
}

/* Whether a server gave one reply too many in this session: its yes to a message may be spoiled
 * then. */
static bool is_spoiled(void) {
        static const char said[] = "duplicate possible: one reply too many";
        const char *err;
        size_t n = world_stderr(&err);

        return memmem(err, n, said, sizeof(said) - 1);
}

/* What one server took: the right text, from the right sender, for recipients of ours; its word is
 * our word. An address may be there several times, for several servers. */
static void judge_handover(const struct handover *h, const struct given *g,
                           const struct envelope *e, bool *has_it) {
        size_t n_received = received_length(&h->content), at = 0;
        const char *address = h->recipients.data;
        struct text want = { 0 };

        text_add(&want, h->content.data, n_received); /* it has our time */
        add_passed_on(g, &want);
        must(text_equal(&want, &h->content));
        text_clear(&want);
        must(h->sender.n == strlen(e->sender.address.text) &&
             memcmp(h->sender.data, e->sender.address.text, h->sender.n) == 0);
        for (unsigned i = 0; i < h->n_recipients; i++) {
                size_t n = strcspn(address, "\n"), index = find_addressee(e, at, address, n);
                unsigned verdict = h->is_lmtp ? i : 0;
                bool is_positive = verdict < h->n_codes && h->codes[verdict] / 100 == 2;

                while (has_it[index] ||
                       (g->is_positive[index] != is_positive && !(is_positive && is_spoiled())))
                        index = find_addressee(e, index + 1, address, n);
                has_it[index] = is_positive;
                at = index + 1;
                address += n + 1;
        }
}

void destination_judge_handovers(const struct given *g, const struct envelope *e, size_t first) {
        bool *has_it = calloc(e->n_addressees + 1, sizeof(*has_it));

        world_listen();
        for (size_t i = first; i < world.n_handovers; i++)
                judge_handover(world.handovers + i, g, e, has_it);
        for (size_t i = 0; i < e->n_addressees; i++)
                must(has_it[index_of_copy(e, i)] || !g->is_positive[i]);
        free(has_it);
}
