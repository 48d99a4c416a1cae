/* SPDX-License-Identifier: MIT */
/* fuzz/fuzz-server.c - a session: any octets, any verdicts, cut anywhere.
 *
 * The input is eight octets that choose the session and its verdicts, then what the client sends.
 * The session is played whole and in pieces, with the same events; the player asserts what server.h
 * promises; the oracle says what must have been delivered.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { CHOICES = 8 };
enum { IS_LMTP = 1, IS_LF = 2, HAS_AUTH = 4, HAS_FEW_EXTENSIONS = 8, AUTH_NEEDS_TLS = 128 };

struct verdicts {
        uint64_t seed; /* 0: all are welcome */
};

static unsigned draw(struct verdicts *v) {
        v->seed = v->seed * 6364136223846793005U + 1442695040888963407U;
        return (unsigned) (v->seed >> 33);
}

static void give_verdict(void *userdata, enum event_kind question, const char *address,
                         struct reply *ret) {
        struct verdicts *v = userdata;
        unsigned choice = v->seed ? draw(v) % 64 : 0;

        if (choice < 32 && question == SERVER_AUTH)
                return; /* everybody is believed */
        if (choice < 48 && question == SERVER_AUTH)
                reply_set(ret, choice < 40 ? 334 : 235, "", "%s", choice < 40 ? "QUJD" : "yes");
        else if (choice < 48 && question == SERVER_TLS)
                reply_set(ret, 220, "2.0.0", "go ahead");
        else if (choice < 48 || (choice < 63 && choice >= 61 && question == SERVER_DATA))
                reply_set(ret, question == SERVER_DATA ? 354 : 250,
                          question == SERVER_DATA ? "" : "2.0.0", "OK");
        else if (choice < 55)
                reply_set(ret, 451, "4.3.0", "later, %s", address);
        else if (choice < 61)
                reply_set(ret, 550, "", "no\nnot\n%s", address);
        else if (choice < 63)
                reply_set(ret, 250, "2.1.5", "yes\n\nindeed");
        else
                reply_set(ret, 421, "4.3.2", "%s", "");
}

static struct server_rules choose_rules(const uint8_t *choices) {
        static const uint64_t sizes[] = { 32 << 20, 0, 100, 10 };
        static const unsigned recipients[] = { 100, 1, 2, 3 };
        static const unsigned commands[] = { 1000, 1000, 6, 12 };
        static const unsigned errors[] = { 1000, 20, 3, 0 };

        return (struct server_rules) {
                .hostname = "mx.example.com",
                .is_lmtp = choices[0] & IS_LMTP,
                .lf_is_line_end = choices[0] & IS_LF,
                .extensions = EXTENSIONS_ALL,
                .max_size = sizes[choices[2] & 3],
                .max_recipients = recipients[choices[2] >> 2 & 3],
                .max_commands = commands[choices[2] >> 4 & 3],
                .max_errors = errors[choices[2] >> 6 & 3],
                .auth = !(choices[0] & HAS_AUTH)      ? SERVER_NO_AUTH
                        : choices[0] & AUTH_NEEDS_TLS ? SERVER_AUTH_NEEDS_TLS
                                                      : SERVER_AUTH_ALLOWED,
                .tls = choices[1] >> 6 & 1 ? SERVER_TLS_OFFERED + (choices[1] >> 7) : SERVER_NO_TLS,
        };
}

static void play(const uint8_t *choices, const char *in, size_t n, size_t piece, struct log *ret) {
        struct verdicts verdicts = { 0 };
        struct player p = {
                .name = "fuzz-server",
                .rules = choose_rules(choices),
                .offer = choices[0] & HAS_FEW_EXTENSIONS ? choices[0] >> 4 & EXTENSIONS_ALL
                                                         : EXTENSIONS_ALL,
                .mechanisms = "PLAIN LOGIN SCRAM-SHA-256",
                .verdict = give_verdict,
                .userdata = &verdicts,
        };

        memcpy(&verdicts.seed, choices + 3, CHOICES - 3);
        player_start(&p);
        player_feed(&p, "", 0, 1);
        player_feed(&p, in, n, piece);
        player_end(&p);
        *ret = p.log;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        struct server_rules rules;
        struct log whole, pieces;
        const char *in = (const char *) data + CHOICES;

        if (n < CHOICES)
                return 0;
        n -= CHOICES;
        rules = choose_rules(data);
        play(data, in, n, SIZE_MAX, &whole);
        play(data, in, n, data[1] % 64U + 1, &pieces);
        if (!log_is_equal(&whole, &pieces, "fuzz-server"))
                abort();
        oracle_judge(in, n, &rules, &whole);
        log_clear(&whole);
        log_clear(&pieces);
        return 0;
}
