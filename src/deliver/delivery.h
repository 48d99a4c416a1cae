/* SPDX-License-Identifier: MIT */
/* deliver/delivery.h - the interface of the strategies, and their table.
 *
 * A strategy is a struct delivery_ops at the end of its file and a row in strategies.c. The session
 * calls it at each step of the client; every verdict it gives is the reply that the client gets.
 * 250 is the destination's word: a verdict is preset to 451, and becomes positive only when the
 * destination has the whole message. A strategy that sets no verdict accepts nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/request.h"
#include "config/config.h"
#include "io/channel.h"
#include "io/peer.h"
#include "io/spool.h"
#include "smtp/auth.h"
#include "smtp/command.h"
#include "smtp/fields.h"
#include "smtp/reply.h"
#include "smtp/security.h"
#include "smtp/trace.h"

enum { ENVELOPE_ID_MAX = 47 };

/* An accepted recipient, and its verdict. */
struct addressee {
        struct recipient recipient;
        struct reply verdict; /* until the message goes to the strategy: the answer to RCPT */
        /* where it goes, for the log; NULL: where all of the envelope do */
        const char *destination;
        /* one before it, whose copy and verdict it shares; NULL: none */
        const struct addressee *same;
        bool is_held; /* it gets no copy: a rule has its verdict */
};

/* One transaction: from whom, to whom, how it came. */
struct envelope {
        char id[ENVELOPE_ID_MAX + 1]; /* unique on this host */
        const struct peer *peer;
        /* with all that is waited for; whoever is given the message says so in its stage */
        struct patience *patience;
        const char *helo;     /* the client's name for itself */
        const char *protocol; /* as in Received's "with" (RFC 3848, RFC 6531): SMTP, ... */
        const struct security *security; /* the TLS that it came in, if it did */
        const char *authenticated;       /* by which mechanism its client has; "": it has not */
        struct sender sender;
        struct addressee *addressees;
        size_t n_addressees;
        /* each of them hears its own; or else there is one reply for all */
        bool has_own_verdicts;
        const struct security *upstream; /* the TLS that an upstream has it by; or NULL */
        char destination[160]; /* where it went and what is known there, for the log; "" if nothing
                                  is */
};

/* A whole message: LF lines, without added dots. */
struct message {
        struct header_scan header;
        uint64_t size; /* octets as RFC 1870 counts them: CRLF line ends */
        bool has_nul;
        const struct fields *added; /* on top of it, by a filter; NULL: nothing */
        struct spool spool;         /* last: it is large */
};

/* The state of a strategy in a session; each strategy defines its own. */
struct delivery;

/* What a strategy has of its session. */
struct delivery_context {
        const struct config *config;
        const struct peer *peer;
        /* the connection: whoever waits for somebody else flushes it before, and has its
         * patience. NULL: nobody is there yet, and it is only found out whether it can be opened */
        struct channel *client;
        const char *authenticated; /* as in the envelope, as long as the session */
};

/* The row of a strategy. It must set .name, .open and .process_message, and both or neither of .put
 * and .collect, and of .mechanisms and .authenticate; otherwise smtpd does not start. All else is
 * optional. */
struct delivery_ops {
        const char *name;
        const char *summary; /* what it does with a message, for --help */

        /* Of the options that not every strategy has, the names of those it has, with blanks
         * between; NULL: none. An option that is in no row is for all. */
        const char *options;

        /* Whether its options go together: a complaint that says what to do, or NULL. `*ret_option`
         * is the one to blame, preset to "strategy". NULL: they do. */
        const char *(*check)(const struct config *c, const char **ret_option);

        bool needs_domain; /* of each address: it passes mail on */
        bool needs_output; /* it shows messages: io/output.h */

        /* Checks that the helpers which the strategy runs are installed. Returns 0, or -EINVAL
         * after logging which one is not. NULL: it runs none. */
        int (*require)(void);

        /* Opens the strategy for a session, before that is confined: anything with a name must be
         * opened here. Returns 0, -EINVAL if the strategy cannot work as configured (it has logged
         * why), or another negative errno. */
        int (*open)(const struct delivery_context *x, struct delivery **ret);

        /* Sets in `*ret` what the session's broker may do for it (broker/broker.h): run programs,
         * connect, and open names, which the session cannot do itself. Called after open(). NULL:
         * nothing, and there is no broker. */
        void (*needs)(const struct delivery *d, struct services *ret);

        /* At HELO, EHLO, LHLO: sets what to offer to the client. It is preset to EXTENSIONS_LOCAL
         * and the configured limits, which may be lowered. NULL: the preset is used. */
        void (*hello)(struct delivery *d, const char *helo, struct offer *o);

        /* After hello(): the AUTH mechanisms to offer, separated by blanks; "": none at present. */
        const char *(*mechanisms)(struct delivery *d);

        /* AUTH: answers a line as in SERVER_AUTH (smtp/server.h), with 334 and a challenge, 235, or
         * a refusal. It gets the next line only after a 334. */
        void (*authenticate)(struct delivery *d, const char *line, size_t n,
                             struct challenge *ret_challenge, struct reply *ret_verdict);

        /* Asked at MAIL and RCPT, while the client waits. The verdict is preset to 451; accept with
         * the destination's own reply, or with delivery_sender_ok and delivery_recipient_ok. NULL:
         * all are accepted. */
        void (*sender)(struct delivery *d, const struct envelope *e, struct reply *ret_verdict);
        void (*recipient)(struct delivery *d, struct addressee *a, struct reply *ret_verdict);

        /* Whether a recipient is the same as `a`, which was accepted, put and not collected yet, or
         * refused (of these only the last is remembered). The strategy is then not asked about it:
         * it gets the same reply as `a`, and if that was accepted the same verdict, and is among
         * the addressees with .same set. NULL: the strategy is asked about all. */
        bool (*is_same)(const struct delivery *d, const struct addressee *a,
                        const struct recipient *r);

        /* The same for a client that does not wait, answered later (RFC 2920). put() passes a
         * question on, to MAIL (`a` is NULL) or RCPT, and returns true; or false, and nothing was
         * said: then it is asked by the two above, once all that was put is collected. collect()
         * waits for the answers, in the order of put(). The addressee stays where it was at put()
         * until its collect(), which tells where it is from then on. After reset() nothing more is
         * collected. */
        bool (*put)(struct delivery *d, const struct envelope *e, struct addressee *a);
        void (*collect)(struct delivery *d, struct addressee *a, struct reply *ret_verdict);

        /* The message is complete: delivers it, and sets the verdict of each addressee, which is
         * preset to 451; never to a 421. Skips addressees with .is_held, about which it was not
         * asked either; there is at least one other. */
        void (*process_message)(struct delivery *d, struct envelope *e, struct message *m);

        void (*reset)(struct delivery *d); /* the transaction is over. NULL: nothing to do */

        /* There is no transaction, and the client has been silent for a while: connections held for
         * it can be closed. NULL: there are none. */
        void (*idle)(struct delivery *d);

        void (*close)(struct delivery *d); /* frees what open() made. NULL: nothing to do */
};

/* The table, in strategies.c; NULL is its end. */
extern const struct delivery_ops *const delivery_strategies[];

/* Checks whether a strategy can work, without opening it. Returns 0, or -EINVAL after logging why
 * not. */
int delivery_check(const struct delivery_ops *strategy);

/* Opens a strategy, if its row is complete. Returns as its open() does. */
int delivery_open(const struct delivery_ops *strategy, const struct delivery_context *x,
                  struct delivery **ret);

/* For strategies that print messages: checks that there is an output, and that messages are not
 * lost there by mistake. Returns 0, or -EINVAL after logging why not. */
int delivery_check_output(const struct config *c);

/* The default strategy: journal if `is_for_journal`, otherwise print. */
const struct delivery_ops *delivery_default(bool is_for_journal);

/* The positive replies to MAIL and RCPT. */
extern const struct fixed_reply delivery_sender_ok, delivery_recipient_ok;

/* With split=yes, to a recipient of another destination than that of the transaction. */
extern const struct fixed_reply delivery_elsewhere;

/* The same verdict for all. */
void delivery_verdict(struct envelope *e, const struct reply *verdict);

/* The verdict if the message cannot be stored; `error` is the spool's negative errno, which is
 * logged. */
void delivery_storage_verdict(int error, struct reply *ret);
