/* SPDX-License-Identifier: MIT */
/* mail.h - the current mail object (RFC 5321 section 2.3.1: envelope and content), and its
 * strategy's verdicts. */
#pragma once

#include "config/config.h"
#include "deliver/delivery.h"

/* Room for the usual number of addressees without an allocation, which would cost a system call. */
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
        struct addressee refused;       /* the last one of the transaction; code 0: there is none */
        struct addressee few[MAIL_FEW]; /* what is large comes last */
        struct message message;
};

enum mail_answer {
        MAIL_ANSWERED, /* there is a verdict */
        MAIL_DEFERRED, /* mail_collect() will have it */
        MAIL_LATER,    /* ask again when all that are deferred are collected */
};

/* Opens the strategy. `authenticated` is the mechanism with which the client authenticates later,
 * and must stay valid. Returns 0, the negative errno of open(), or -ENOMEM. */
int mail_open(struct mail *m, const struct config *c, const struct peer *p, struct channel *client,
              const char *authenticated);
void mail_close(struct mail *m);

/* Asks the strategy about MAIL, and each RCPT that the server has room for. */
enum mail_answer mail_sender(struct mail *m, const struct sender *sender,
                             struct reply *ret_verdict);
enum mail_answer mail_recipient(struct mail *m, const struct recipient *recipient,
                                struct reply *ret_verdict);

/* Notes a MAIL that the server refuses, so that it has an id for the log. */
void mail_refused_sender(struct mail *m, const struct sender *sender);

/* Accepts a recipient without asking the strategy, because a rule will refuse the message for it;
 * mail_deliver() leaves it out. Nothing may be deferred. */
void mail_hold(struct mail *m, const struct recipient *recipient, struct reply *ret_verdict);

/* Waits for the verdict on the oldest deferred question: MAIL, or a RCPT. */
void mail_collect(struct mail *m, bool is_sender, struct reply *ret_verdict);

/* Sets the number of recipients in the envelope. */
void mail_accept(struct mail *m, size_t n_recipients);

/* Appends text of the message. An error, such as a full disk, is reported at the end, with 452. */
void mail_append(struct mail *m, const char *text, size_t n);

/* The message is complete: passes it to the strategy, which sets the verdict of each addressee. */
void mail_deliver(struct mail *m, uint64_t size, const char *helo, const char *protocol);

/* The message is complete: sets this verdict without asking the strategy. */
void mail_judge(struct mail *m, const struct reply *verdict);

/* The message was refused, whether complete or not. */
void mail_refused(struct mail *m);

/* The best and the worst verdict. In SMTP the worst is the reply for all recipients, although some
 * may have the message. */
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
