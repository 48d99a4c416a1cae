/* SPDX-License-Identifier: MIT */
/* mail.h - the mail object under way (RFC 5321 section 2.3.1: envelope and content), and what its
 * strategy says of it. */
#pragma once

#include "config/config.h"
#include "deliver/delivery.h"

/* So many addressees are the rule, and memory that is not allocated costs no system call. */
enum { MAIL_FEW = 100 };

struct mail {
        const struct delivery_ops *strategy;
        struct delivery *delivery;
        struct envelope envelope;
        /* of the addressees after those of the envelope: those whose verdicts are still to come */
        size_t first_pending;
        size_t n_pending;
        bool is_sender_pending; /* so is that on the sender */
        unsigned n_ids;
        bool is_judged;                 /* the message came whole, and has its verdict */
        struct addressee few[MAIL_FEW]; /* what is large comes last */
        struct message message;
};

enum mail_answer {
        MAIL_ANSWERED, /* there is a verdict */
        MAIL_DEFERRED, /* mail_collect() will have it */
        MAIL_LATER,    /* ask again when all that are deferred are collected */
};

/* Opens the strategy. `authenticated` is by which mechanism the client has, from now on. Returns 0
 * or its negative errno, or -ENOMEM. */
int mail_open(struct mail *m, const struct config *c, const struct peer *p, struct channel *client,
              const char *authenticated);
void mail_close(struct mail *m);

/* MAIL, and each RCPT that the server has room for. */
enum mail_answer mail_sender(struct mail *m, const struct sender *sender,
                             struct reply *ret_verdict);
enum mail_answer mail_recipient(struct mail *m, const struct recipient *recipient,
                                struct reply *ret_verdict);

/* A MAIL that the server refuses: its sender has an id too, for the log. */
void mail_refused_sender(struct mail *m, const struct sender *sender);

/* A recipient of which the strategy is not to know, while nothing is deferred: a rule will have the
 * verdict. It is welcome, and mail_deliver() leaves it out. */
void mail_hold(struct mail *m, const struct recipient *recipient, struct reply *ret_verdict);

/* The verdict on the oldest deferred question: MAIL, or a RCPT. */
void mail_collect(struct mail *m, bool is_sender, struct reply *ret_verdict);

/* So many of the recipients are in the envelope. */
void mail_accept(struct mail *m, size_t n_recipients);

/* Text of the message. A full disk is found out at the end: the client hears 452 and keeps the
 * message. */
void mail_append(struct mail *m, const char *text, size_t n);

/* The message is complete, and goes to the strategy: each addressee has a verdict after that. */
void mail_deliver(struct mail *m, uint64_t size, const char *helo, const char *protocol);

/* The message is complete, and this is the verdict: no strategy gets it. */
void mail_judge(struct mail *m, const struct reply *verdict);

/* The message is complete, or will never be, since it was refused. */
void mail_refused(struct mail *m);

/* In SMTP one reply speaks for all recipients; somebody may have the message although that is a
 * refusal. */
struct outcome {
        const struct reply *best, *worst;
};
struct outcome mail_outcome(const struct mail *m);

/* Whether there were recipients, and no whole message for them. */
static inline bool mail_is_abandoned(const struct mail *m) {
        return m->envelope.n_addressees > 0 && !m->is_judged;
}

/* The transaction is over. */
void mail_reset(struct mail *m);
