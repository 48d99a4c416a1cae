/* SPDX-License-Identifier: MIT */
/* deliver/client.h - an SMTP or LMTP client: one connection to one server.
 *
 * RFC 5321, RFC 2033, RFC 2920 (pipelining), and Postfix's XCLIENT. Each call sends, waits, and
 * returns the result. With CLIENT_OK there is a reply from the server, positive or not; with any
 * other result there is no usable reply, and the connection is closed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/prologue.h"
#include "config/config.h"
#include "io/channel.h"
#include "io/log.h"
#include "io/peer.h"
#include "smtp/auth.h"
#include "smtp/body.h"
#include "smtp/command.h"
#include "smtp/reply.h"

/* Seconds for each step, for the reply to the final dot (RFC 5321 section 4.5.3.2.6: 600), and to
 * connect. */
enum {
        CLIENT_SECONDS = UPSTREAM_SECONDS,
        CLIENT_DOT_SECONDS = UPSTREAM_DOT_SECONDS,
        CLIENT_CONNECT_SECONDS = 30,
        CLIENT_OUTAGE_SECONDS = 10, /* until a server that failed is asked again */
};

enum client_result {
        CLIENT_OK,
        CLIENT_UNREACHABLE, /* there is no connection */
        CLIENT_REFUSED,     /* it will not have us, or not have again what it had */
        CLIENT_INSECURE,    /* there is no TLS with it, or it is not who it should be */
        CLIENT_LOCKED_OUT,  /* it does not take our credentials */
        CLIENT_LOST,        /* it closed the connection, maybe with a 421 */
        CLIENT_NONSENSE,    /* what it says is no SMTP */
        CLIENT_OUT_OF_STEP, /* it says something before it is asked */
        CLIENT_SILENT,      /* it does not answer, or does not read, in time */
        CLIENT_UNREADABLE,  /* we cannot read what is to be sent */
        CLIENT_IN_VAIN,     /* the session is to end (io/patience.h) */
};

/* Whether the server went away: to connect once more may help. */
static inline bool client_is_gone(enum client_result r) {
        return r == CLIENT_LOST || r == CLIENT_NONSENSE;
}

/* How to speak to a server. */
struct client_rules {
        const char *name;     /* what kind of server it is, in the log: "upstream" */
        const char *title;    /* and in replies: "the upstream server" */
        const char *hostname; /* what we call ourselves */
        enum reply_by by;     /* whose words its replies are */
        bool is_lmtp;
        bool needs_8bitmime;        /* gets no 8-bit text unless it offers that */
        bool has_prologue;          /* the broker says something first */
        uint64_t timeout;           /* seconds for each wait; 0: those above */
        struct channel *downstream; /* our client: flushed before we wait; its patience counts */
        const struct peer *peer;    /* whom to name by XCLIENT; NULL: nobody */
        const char *peer_helo;
};

struct client {
        bool is_open;
        bool is_pipelined; /* may be sent several commands at once */
        bool is_begun;     /* has taken MAIL, and heard no end of the transaction */
        enum {
                CLIENT_ANONYMOUS,
                CLIENT_IN_EXCHANGE, /* of AUTH: it waits for a response */
                CLIENT_AUTHENTICATED,
        } standing;
        bool has_size; /* takes the parameter SIZE */
        bool has_starttls;
        unsigned n_owed;     /* answers to commands that were put */
        unsigned xclient;    /* attributes of XCLIENT, or-ed; 0: not offered */
        char auth[256];      /* mechanisms of AUTH, as they were said; "": not offered */
        unsigned extensions; /* offered: enum extension, or-ed */
        uint64_t max_size;   /* octets; 0: not told, or no limit */
        uint64_t max_mails;  /* in a connection (RFC 9422); 0: not told */
        uint64_t max_rcpts;  /* in a transaction, likewise */
        uint64_t n_mails;    /* that were put */
        unsigned n_rcpts;    /* that were put since MAIL */
        const struct client_rules *rules;
        char endpoint[256];              /* where it is connected to, for the log */
        struct prologue_result prologue; /* what was said before we got the connection */
        enum client_result failure;      /* the last one */
        const char *step;  /* of a failure that is not in the log yet; NULL: there is none */
        char why[256];     /* it in our words */
        struct reply said; /* or in the server's; code 0: it had none */

        struct channel channel;
        struct body_encoder body;
        char *in; /* unread octets of the channel's buffer */
        size_t n_in;
};

/* After a failure a server is left alone for some seconds: otherwise a client could have it asked,
 * and logged, again and again. Starts zeroed. */
struct outage {
        int64_t end;         /* see io/deadline.h */
        struct reply reason; /* as client_said() has it; code 0: it gave none */
};

/* The session's patience, which limits every wait. */
struct patience *client_patience(const struct client *c);

/* Connects to an endpoint (its index at the broker, and its name for the log), reads the greeting
 * and says EHLO, LHLO or HELO. The rules must stay valid while it is open. */
enum client_result client_open(struct client *c, unsigned index, const char *endpoint,
                               const struct client_rules *rules);

/* The same, unless the server is left alone: then `o` has the reason. A failure is logged, and
 * begins an outage. */
enum client_result client_try(struct client *c, struct outage *o, unsigned index,
                              const char *endpoint, const struct client_rules *rules);

/* Begins an outage after the last failure. */
void client_leave_alone(const struct client *c, struct outage *o);

/* The parts of client_open(), if there is a connection already: initialise; take `fd`; read the
 * greeting; say EHLO, HELO or LHLO with a name. */
void client_begin(struct client *c, const char *endpoint, const struct client_rules *rules);
void client_take(struct client *c, int fd);
enum client_result client_greet(struct client *c);
enum client_result client_introduce(struct client *c, const char *name);

/* Whether it is open, owes no replies, and has not sent anything else yet. */
bool client_is_quiet(const struct client *c);

/* Whether its own limit allows another MAIL. */
bool client_has_room(const struct client *c);

/* Checks, without sending, whether to go on: CLIENT_IN_VAIN if the session is to end, CLIENT_LOST
 * if the server has closed the connection, CLIENT_OUT_OF_STEP if it sent something unexpected.
 * While replies are owed the last two cannot be detected. */
enum client_result client_look(struct client *c);

/* Sends AUTH or the next line of its exchange, given without line end. `ret` is 334, with its
 * unchanged text in `ret_challenge`; 235; or a refusal. */
enum client_result client_exchange(struct client *c, const char *line, size_t n,
                                   struct challenge *ret_challenge, struct reply *ret);

/* The put functions queue a command, and client_get() gets the replies in the same order. If
 * c->is_pipelined, several commands may be queued before the first client_get(), which sends them
 * (RFC 2920). Parameters that the server did not offer are left out. */
void client_put_mail(struct client *c, const struct sender *s);
void client_put_rcpt(struct client *c, const struct recipient *r);
void client_put_rset(struct client *c);
enum client_result client_get(struct client *c, const char *step, struct reply *ret);

/* Sends DATA. `ret` is the reply; 354 means to go on. */
enum client_result client_data(struct client *c, struct reply *ret);

/* Sends text of the message, with LF line ends. */
enum client_result client_send(struct client *c, const char *text, size_t n);

/* Sends the final dot; then call client_verdict() once, or for each recipient (LMTP). Call
 * client_look() before it: a reply that came earlier is not about the whole message. */
enum client_result client_end(struct client *c);
enum client_result client_verdict(struct client *c, struct reply *ret);

/* Closes without QUIT: a message under way stays incomplete. */
void client_abort(struct client *c);

/* The same after a failure, which is recorded. Returns `result`, or CLIENT_IN_VAIN if the session
 * is to end. */
enum client_result client_fail(struct client *c, enum client_result result, const char *step,
                               const char *what);

/* The same after a refusal by the server. */
enum client_result client_refuse(struct client *c, enum client_result result, const char *step,
                                 const struct reply *reply);

/* Logs a recorded failure once: as a line of its own, or as a field.
 */
void client_log(struct client *c);
void client_log_reason(const struct client *c, struct log_line *l);

/* The server's words when it refused us or closed, as a temporary failure; or ours, for TLS and
 * credentials. Returns false if there are none. */
bool client_said(const struct client *c, struct reply *ret);

/* Forgets what it said of the last message: that is no reason to refuse the next. */
void client_forget(struct client *c);

/* Logs a reply that our client does not hear, although nothing failed. */
void client_log_reply(struct client *c, const char *step, const struct reply *reply);

/* Sends QUIT and closes without waiting for the reply. Does nothing if it is not open. */
void client_close(struct client *c);
