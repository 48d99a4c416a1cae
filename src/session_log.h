/* SPDX-License-Identifier: MIT */
/* session_log.h - the log lines of a session, and its status for the service manager. smtpd(8)
 * describes the fields. */
#pragma once

#include "config/config.h"
#include "confine.h"
#include "deliver/delivery.h"
#include "io/peer.h"
#include "io/receipt.h"
#include "smtp/server.h"

/* Why a session ended. */
enum session_end {
        GOES_ON,
        END_QUIT,      /* the client's wish */
        END_REFUSED,   /* ours, for the reason in the last reply */
        END_CLOSED,    /* the client closed the connection */
        END_LOST,      /* the connection was lost while we waited */
        END_GONE,      /* ... while we replied */
        END_DEAF,      /* the client does not read our replies */
        END_STOPPED,   /* ... and we are to end */
        END_INJECTED,  /* something came after STARTTLS that would have been heard inside TLS */
        END_NO_TLS,    /* TLS did not come about */
        END_NO_HEADER, /* a balancer did not say who its client is */
};

extern const struct session_ending {
        const char *text; /* the log's word; NULL: the last reply */
        bool is_ours;     /* the client may still be talking */
        bool is_loss;     /* the client hears nothing any more */
} session_ends[];

/* What the lines are made of. */
struct session_log {
        const struct config *config;
        const struct peer *peer;
        const struct server *server;
        const struct envelope *envelope;
        int64_t started;              /* io/deadline.h */
        unsigned n_messages;          /* that came whole */
        unsigned n_accepted;          /* that at least one recipient has */
        unsigned n_traced;            /* of the server's commands */
        unsigned n_rejected;          /* refusals of MAIL, of RCPT, and of messages by the server */
        const struct security *outer; /* the TLS that ends at a balancer */
        char why[SECURITY_REASON_MAX]; /* there is no TLS, or no header */
        enum confinement confinement;
};

/* Logs a client that left before the session began. */
void session_log_gone(const struct peer *p, int priority);

/* Logs a message that the strategy was asked about at `asked`, with the verdict for the message,
 * and with those of the recipients if they differ. */
void session_log_message(const struct session_log *s, const struct reply *verdict, int64_t asked);

/* Logs a refusal: the strategy's verdict on MAIL (`r` is NULL) or RCPT, or a reply of the server.
 * After max_errors lines in a session, one line at its end has the number of the others. */
void session_log_verdict(struct session_log *s, const struct recipient *r,
                         const struct reply *verdict);
void session_log_refused(struct session_log *s, const struct event *reply);

/* The same of a refusal by a rule: of a sender, a recipient or a message; of the client itself,
 * with the name that it gave, or "". */
void session_log_rejected(struct session_log *s, enum refused whom, const struct recipient *r,
                          const struct reply *verdict);
void session_log_rejected_client(struct session_log *s, const char *helo,
                                 const struct reply *verdict);
/* Logs the end of an AUTH exchange, with its reply. `name` is the user name, or "" if that is not
 * known. */
void session_log_auth(const struct session_log *s, const char *name, const struct reply *verdict);

/* Logs a transaction with recipients that ended without a complete message. */
void session_log_abandoned(const struct session_log *s, enum session_end end);

/* Notes the id and the recipients of a message for which a 250 is about to be sent. */
void session_log_owe(const struct session_log *s, struct receipt *r);

/* Logs "duplicate possible" for each message whose 250 may not have arrived. */
void session_log_unheard(const struct session_log *s, const struct receipt *r);

/* With trace=yes: a line for the server's last command, if it is a new one, and for each line of a
 * reply, as it goes over the wire. */
void session_log_trace_command(struct session_log *s);
void session_log_trace_reply(const struct session_log *s, const char *wire, size_t n);

void session_log_end(const struct session_log *s, enum session_end end);

/* For `systemctl status`: between messages, and while there is one. */
void session_log_waiting(const struct session_log *s);
void session_log_doing(const struct session_log *s, const char *what);
