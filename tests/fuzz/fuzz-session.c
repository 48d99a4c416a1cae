/* SPDX-License-Identifier: MIT */
/* fuzz/fuzz-session.c - a whole session with a strategy: print, proxy or mailman.
 *
 * The input is eight octets that choose the configuration, and the pieces of which the world
 * outside is made (world.h). Of what happens is demanded: what the strategy was given is what the
 * client sent (oracle.h); each verdict that the client hears is that of the strategy; and the
 * strategy says 250 if, and only if, the destination has the whole message, with what we add to it,
 * and said so (destination.h). The log is lines of printable ASCII. Nothing leaks.
 */
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "destination.h"
#include "oracle.h"
#include "world.h"

/* For what it remembers of a session. */
#include "session.c"

extern const struct delivery_ops print_ops, proxy_ops, mailman_ops;

#define must world_must

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { CHOICES = 8, MESSAGES_MAX = 2000 };

static struct {
        struct session *session;
        struct delivery_ops ops;
        const struct delivery_ops *real;
        struct channel channel;
        struct config config;
        struct patience patience;
        struct peer peer;
        struct given given[MESSAGES_MAX];
        size_t n_given;
        size_t n_judged; /* handovers */
} f;

/* --- the strategy, watched -------------------------------------------------------------------- */

static int open_watched(const struct delivery_context *x, struct delivery **ret) {
        f.session = (struct session *) ((char *) ret - offsetof(struct session, mail.delivery));
        return f.real->open(x, ret);
}

static size_t n_heard_so_far(void) {
        world_listen();
        return world.client_heard.n + f.channel.n_out;
}

static void read_spool(struct spool *s, struct text *ret) {
        const char *part;
        int64_t n;

        while (ret->n < s->size) {
                n = spool_read(s, ret->n, &part);
                must(n > 0 && (uint64_t) n <= s->size - ret->n);
                text_add(ret, part, (size_t) n);
        }
}

static void process_watched(struct delivery *d, struct envelope *e, struct message *m) {
        struct given *g = f.given + f.n_given++;
        const char *err;

        must(f.n_given < MESSAGES_MAX && e->n_addressees > 0 &&
             e->n_addressees == f.session->server.n_recipients);
        world_listen();
        must(f.n_judged == world.n_handovers); /* nothing was delivered before its time */
        *g = (struct given) { .n_heard = n_heard_so_far(),
                              .n = (unsigned) e->n_addressees,
                              .x_peer = f.config.x_peer ? f.peer.address : NULL };
        g->is_prdr = e->has_own_verdicts && !f.config.is_lmtp && g->n > 1;
        read_spool(&m->spool, &g->text);
        g->printed_from = world_stderr(&err);
        f.real->process_message(d, e, m);
        g->is_positive = calloc(e->n_addressees, sizeof(*g->is_positive));
        for (size_t i = 0; i < e->n_addressees; i++) {
                const struct reply *verdict = &e->addressees[index_of_copy(e, i)].verdict;

                must(verdict->code >= 200 && verdict->code != 421 && verdict->code / 100 != 3);
                g->is_positive[i] = reply_is_positive(verdict);
        }
        if (strcmp(f.real->name, "print") == 0)
                destination_judge_printed(g, e);
        else {
                destination_judge_handovers(g, e, f.n_judged);
                f.n_judged = world.n_handovers;
        }
}

/* --- what was heard --------------------------------------------------------------------------- */

static struct record *add_record(struct log *l, enum event_kind kind) {
        if ((l->n & (l->n - 1)) == 0)
                l->records = realloc(l->records, (l->n ? 2 * l->n : 1) * sizeof(*l->records));
        l->records[l->n] = (struct record) { .kind = kind };
        return l->records + l->n++;
}

/* One reply from the wire, with all its lines. */
static size_t read_reply(const char *p, size_t n, short *ret_code) {
        size_t at = 0;

        for (;;) {
                const char *line = p + at, *lf = memchr(line, '\n', n - at);
                size_t n_line = lf ? (size_t) (lf - line) : 0;

                must(lf && n_line >= 5 && lf[-1] == '\r' && memchr(line, '\r', n_line) == lf - 1);
                must(strspn(line, "0123456789") == 3 && memcmp(line, p, 3) == 0 &&
                     (line[3] == ' ' || line[3] == '-'));
                for (const char *c = line; c < lf - 1; c++)
                        must(*c >= ' ' && *c <= '~');
                at += n_line + 1;
                if (line[3] == ' ')
                        break;
        }
        *ret_code = (short) strtol(p, NULL, 10);
        return at;
}

/* The verdict that the client has to hear for one recipient, or for all: that everybody has it, or
 * with PRDR somebody. */
static bool is_yes(const struct given *g, unsigned index, bool is_lmtp) {
        unsigned n_yes = 0;

        if (is_lmtp || (g->is_prdr && index < g->n))
                return g->is_positive[index];
        for (unsigned i = 0; i < g->n; i++)
                n_yes += g->is_positive[i];
        return g->is_prdr ? n_yes > 0 : n_yes == g->n;
}

static unsigned count_replies(const struct given *g, bool is_lmtp) {
        return g->is_prdr ? g->n + 1 : is_lmtp ? g->n : 1;
}

/* Replies in their order, and among them what was delivered. */
static void make_log(struct log *l, bool is_lmtp) {
        const struct text *heard = &world.client_heard;
        const struct given *g = f.given;
        unsigned index = 0;
        short code;

        for (size_t at = 0; at < heard->n;) {
                bool is_verdict = g < f.given + f.n_given && at >= g->n_heard;
                struct record *r;

                must(!is_verdict || index > 0 || at == g->n_heard);
                if (is_verdict && (!g->is_prdr || index < g->n)) {
                        r = add_record(l, SERVER_END);
                        r->index = index;
                        if (index == 0)
                                text_add(&r->text, g->text.data, g->text.n);
                }
                at += read_reply(heard->data + at, heard->n - at, &code);
                add_record(l, SERVER_REPLY)->code = code;
                if (!is_verdict)
                        continue;
                must((code / 100 == 2) == is_yes(g, index, is_lmtp));
                if (++index == count_replies(g, is_lmtp))
                        index = 0, g++;
        }
        must(g == f.given + f.n_given && index == 0);
}

/* A client that was silent, and one that was there when we were to end, hear of it: that is no
 * answer. */
static void forget_goodbye(struct log *l) {
        must(l->n >= 1 && l->records[l->n - 1].kind == SERVER_REPLY &&
             l->records[l->n - 1].code == 421);
        l->n--;
}

static void judge_session(const struct server_rules *rules, enum ending ending) {
        struct log log = { 0 };

        make_log(&log, rules->is_lmtp);
        if (!world.is_client_over)
                add_record(&log, SERVER_CLOSE);
        else if (ending != ENDING_EOF)
                forget_goodbye(&log);
        oracle_judge(world.client_said.data ? world.client_said.data : "", world.client_said.n,
                     rules, &log);
        log_clear(&log);
}

/* Lines of ours, of printable ASCII; between them, what was printed. */
static void judge_stderr(void) {
        const char *err, *lf;
        size_t n = world_stderr(&err), at = 0, i = 0;

        while (at < n) {
                if (i < f.n_given && f.given[i].printed_to > 0 && at == f.given[i].printed_from) {
                        at = f.given[i++].printed_to;
                        continue;
                }
                lf = memchr(err + at, '\n', n - at);
                must(lf && strncmp(err + at, "smtpd: ", 7) == 0);
                for (; err + at < lf; at++)
                        must(err[at] >= ' ' && err[at] <= '~');
                at++;
        }
}

/* --- a session -------------------------------------------------------------------------------- */

static void choose_config(const uint8_t *choices, struct config *ret) {
        static const uint64_t sizes[] = { 32 << 20, 0, 100, 10 };
        static const unsigned recipients[] = { 100, 1, 2, 101 }, commands[] = { 1000, 1000, 6, 12 },
                              errors[] = { 1000, 20, 3, 1 };
        static const struct delivery_ops *const strategies[] = { &print_ops, &proxy_ops,
                                                                 &mailman_ops, &proxy_ops };
        static char *upstreams[] = { "192.0.2.25", "[2001:db8::25]:26" },
                    *domains[] = { "d", ".example.org" };

        *ret = (struct config) {
                .hostname = "mx.example.com",
                .is_lmtp = choices[0] & 1,
                .x_peer = !(choices[0] & 4),
                .max_size = sizes[choices[2] & 3],
                .max_recipients = recipients[choices[2] >> 2 & 3],
                .max_commands = commands[choices[2] >> 4 & 3],
                .max_errors = errors[choices[2] >> 6 & 3],
                .timeout = 300,
                .session_timeout = 3600,
                .message_timeout = 540,
                .is_upstream_lmtp = choices[1] & 4,
                .xclient = choices[1] & 8,
                .upstream = { upstreams, choices[1] & 16   ? 2
                                         : choices[1] & 32 ? 0
                                                           : 1 },
                .relay_to = { domains, 2 },
                .mailman = (char *) WORLD_MAILMAN,
        };
        f.real = strategies[choices[1] & 3];
        f.ops = *f.real;
        f.ops.open = open_watched;
        f.ops.process_message = process_watched;
        ret->strategy = &f.ops;
}

static void choose_peer(const uint8_t *choices, struct peer *ret) {
        static const char *const peers[] = { "local", "192.0.2.1:2525", "[2001:db8::1]:25",
                                             "127.0.0.1:1" };

        must(peer_parse(peers[choices[0] >> 3 & 3], ret));
}

static void forget(void) {
        for (size_t i = 0; i < f.n_given; i++) {
                text_clear(&f.given[i].text);
                free(f.given[i].is_positive);
        }
        f.n_given = f.n_judged = 0;
        memset(f.session, 0, offsetof(struct session, mail.message)); /* as in a fresh process */
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        (void) argc, (void) argv;
        world_init();
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        struct world_rules outside = { 0 };
        struct server_rules rules = { 0 };

        if (n < CHOICES)
                return 0;
        outside.ending = data[3] % 3;
        outside.is_upstream_lmtp = data[1] & 4;
        outside.extensions = data[4];
        outside.failures = data[5];
        choose_config(data, &f.config);
        choose_peer(data, &f.peer);
        rules.is_lmtp = f.config.is_lmtp;
        rules.lf_is_line_end = data[0] & 2;
        /* servers have their own */
        rules.max_size = f.real->hello ? ORACLE_ANY_SIZE : f.config.max_size;
        world_start((const char *) data + CHOICES, n - CHOICES, &outside);
        patience_init(&f.patience, world.stop, -1);
        channel_init(&f.channel, world.client, world.client, &f.patience);
        must(session_run(&f.config, &f.peer, &f.channel, rules.lf_is_line_end) == 0);
        world_hear_no_more();
        world_listen();
        must(f.n_judged == world.n_handovers);
        judge_session(&rules, outside.ending);
        judge_stderr();
        forget();
        world_end();
        return 0;
}
