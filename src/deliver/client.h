/* SPDX-License-Identifier: MIT */
/* deliver/client.h - an SMTP or LMTP client: one connection to one server.
 *
 * RFC 5321, RFC 2033, RFC 2920 (pipelining), and Postfix's XCLIENT. Straight-line: each call sends,
 * waits, and returns how it went. With CLIENT_OK there is the server's reply, whatever it says;
 * with anything else there is none to go by, and the connection is closed.
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

/* Seconds for each step, for the reply to the final dot (RFC 5321 section 4.5.3.2.6: 600), and for
 * a connection to come about. */
enum {
        CLIENT_SECONDS = UPSTREAM_SECONDS,
        CLIENT_DOT_SECONDS = UPSTREAM_DOT_SECONDS,
        CLIENT_CONNECT_SECONDS = 30,
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
        uint64_t max_rcpts;  /* in a transaction (RFC 9422); 0: not told */
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

/* How long anything may take: that of the session. */
struct patience *client_patience(const struct client *c);

/* Connects to an endpoint (which of the broker's, and its name for the log), hears its greeting and
 * introduces us. The rules stay in use while it is open. */
enum client_result client_open(struct client *c, unsigned index, const char *endpoint,
                               const struct client_rules *rules);

/* The parts of that, for whoever has the connection already: it is nobody's yet; it is `fd`; the
 * greeting; EHLO, HELO or LHLO, under a name. */
void client_begin(struct client *c, const char *endpoint, const struct client_rules *rules);
void client_take(struct client *c, int fd);
enum client_result client_greet(struct client *c);
enum client_result client_introduce(struct client *c, const char *name);

/* Whether it is there, has answered all and said no more than that, as far as it is known yet. */
bool client_is_quiet(const struct client *c);

/* Says nothing, and finds out whether to go on: CLIENT_IN_VAIN if the session is to end,
 * CLIENT_LOST if the server has closed the connection, CLIENT_OUT_OF_STEP if it says something.
 * While answers are owed the last two cannot be told. */
enum client_result client_look(struct client *c);

/* AUTH, or the next line of its exchange, without line end. `ret` is 334, whose text is in
 * `ret_challenge` as it came, 235, or a refusal. */
enum client_result client_exchange(struct client *c, const char *line, size_t n,
                                   struct challenge *ret_challenge, struct reply *ret);

/* Commands are put, and their answers got in the same order. If c->is_pipelined, several may be put
 * before the first answer is got (RFC 2920); they leave with the first. Parameters that the server
 * did not offer are left out. */
void client_put_mail(struct client *c, const struct sender *s);
void client_put_rcpt(struct client *c, const struct recipient *r);
void client_put_rset(struct client *c);
enum client_result client_get(struct client *c, const char *step, struct reply *ret);

/* DATA. `ret` is the reply; 354 is yes. */
enum client_result client_data(struct client *c, struct reply *ret);

/* Text of the message, LF lines. */
enum client_result client_send(struct client *c, const char *text, size_t n);

/* The final dot, to be followed by client_verdict(), once or for each recipient (LMTP).
 * client_look() before it: what the server says earlier is not said of the whole message. */
enum client_result client_end(struct client *c);
enum client_result client_verdict(struct client *c, struct reply *ret);

/* Closes without a word: a message that has begun has no end then. */
void client_abort(struct client *c);

/* The same, because something went wrong. Returns `result`; CLIENT_IN_VAIN if the session is to
 * end. */
enum client_result client_fail(struct client *c, enum client_result result, const char *step,
                               const char *what);

/* The same, because of its reply. */
enum client_result client_refuse(struct client *c, enum client_result result, const char *step,
                                 const struct reply *reply);

/* Says in the log what went wrong, if that was not said yet: on a line of its own, or as a field.
 */
void client_log(struct client *c);
void client_log_reason(const struct client *c, struct log_line *l);

/* With what words it refused us, or hung up, as a temporary failure; or ours, if it is to do with
 * TLS and credentials. false if there are none. */
bool client_said(const struct client *c, struct reply *ret);

/* Says QUIT, does not wait for the answer, closes. Nothing if it is not open. */
void client_close(struct client *c);
