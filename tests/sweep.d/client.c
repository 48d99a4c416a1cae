/* SPDX-License-Identifier: MIT */
/* client.c - a client that plays a session.
 *
 * The session is a file of steps: a line "OCTETS REPLIES CLASS NEXT ELSE", and so many octets to
 * say. The replies are waited for; NEXT is the step after that if all of them begin with the digit
 * CLASS, or else ELSE; with "L" only the last one counts, and must be a 3xx. A step 999 is the end.
 * In the octets "@@TOKEN@" becomes the number of the run.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

enum { STEPS = 64 };

struct step {
        char *text;
        size_t n;
        int n_replies, next, otherwise;
        char class;
};

static struct step steps[STEPS];
static int n_steps;
static int at_step, n_replies;
static bool is_good;
static unsigned long number_of_run;

static void do_step(struct connection *c) {
        struct step *s = &steps[at_step];
        char *token;

        n_replies = 0;
        is_good = true;
        if (at_step >= n_steps)
                return;
        while ((token = memmem(s->text, s->n, "@@TOKEN@", 8))) {
                char number[9];

                snprintf(number, sizeof(number), "%08lu", number_of_run % 100000000);
                memcpy(token, number, 8);
        }
        if (s->n > 0)
                say(c, s->text, s->n);
}

/* A reply: it ends with a line that has no "-". */
bool hear_reply(struct connection *c) {
        char *end = memmem(c->in, c->n, "\r\n", 2);
        bool is_last, is_closing;

        if (!end)
                return false;
        is_last = end - c->in < 4 || c->in[3] != '-';
        is_closing = end - c->in >= 3 && memcmp(c->in, "421", 3) == 0;
        if (is_last) {
                put_line("C %d %.*s\n", at_step, (int) (end - c->in < 3 ? end - c->in : 3), c->in);
                n_replies++;
                if (at_step < n_steps && steps[at_step].class == 'L')
                        is_good = c->in[0] == '3';
                else
                        is_good &= at_step < n_steps && c->in[0] == steps[at_step].class;
        }
        drop(c, (size_t) (end + 2 - c->in));
        if (is_closing)
                at_step = STEPS;
        else if (is_last && at_step < n_steps && n_replies == steps[at_step].n_replies) {
                at_step = is_good ? steps[at_step].next : steps[at_step].otherwise;
                do_step(c);
        }
        return true;
}

void begin_session(struct connection *c, unsigned long token) {
        number_of_run = token;
        do_step(c);
}

void world_load(const char *session) {
        FILE *file = fopen(session, "re");

        if (!file)
                err(1, "%s", session);
        for (n_steps = 0; n_steps < STEPS; n_steps++) {
                struct step *s = &steps[n_steps];

                if (fscanf(file, "%zu %d %c %d %d", &s->n, &s->n_replies, &s->class, &s->next,
                           &s->otherwise) != 5 ||
                    fgetc(file) != '\n')
                        break;
                s->text = malloc(s->n + 1);
                if (fread(s->text, 1, s->n, file) != s->n)
                        errx(1, "%s: step %d is cut", session, n_steps);
        }
        fclose(file);
}
