/* deliver/client.h - an SMTP or LMTP client: one connection to one server.
 *
 * RFC 5321, RFC 2033, RFC 2920 (pipelining), and Postfix's XCLIENT. Straight-line: each call sends, waits, and returns what
 * the server said. Two kinds of outcome: 0 with the server's reply, whatever it is; or a negative errno when there is no
 * reply to go by (gone, silent, nonsense, out of step). The connection is closed then.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "io/channel.h"
#include "io/peer.h"
#include "smtp/body.h"
#include "smtp/command.h"
#include "smtp/reply.h"

enum { CLIENT_DOT_SECONDS = 540, CLIENT_CONNECT_SECONDS = 30 };

/* How to speak to a server. */
struct client_rules {
        const char *hostname;    /* what we call ourselves */
        bool is_lmtp;
        uint64_t timeout;        /* seconds for each step */
        uint64_t dot_timeout;    /* seconds for the reply to the final dot (RFC 5321 section 4.5.3.2.6: 600) */
        const struct peer *peer; /* whom to name by XCLIENT; NULL: nobody */
        const char *peer_helo;
};

struct client {
        bool is_open;
        bool is_pipelined;       /* may be sent several commands at once */
        bool has_size;           /* takes the parameter SIZE */
        unsigned xclient;        /* attributes of XCLIENT that are offered: 1 << enum in client.c; 0: no XCLIENT */
        unsigned extensions;     /* offered: enum extension, or-ed */
        uint64_t max_size;       /* octets; 0: not told, or no limit */
        const struct client_rules *rules;
        char endpoint[256];      /* where it is connected to, for the log */
        char why[128];           /* what went wrong last, for the log */

        struct channel channel;
        struct body_encoder body;
        const char *in;          /* unread octets of the channel's buffer */
        size_t n_in;
};

/* Connects to an endpoint (io/connect.h; `port` is for one that names none), hears its greeting and introduces us. Returns 0,
 * or a negative errno with the reason in c->why; also when the server greets with a refusal. The rules stay in use while it is
 * open. */
int client_open(struct client *c, const char *endpoint, const char *port, const struct client_rules *rules);

/* Says nothing, and finds out whether the server is still there: 0; -ENOTCONN when it has closed the connection or said
 * 421; -EBADMSG when it says something unasked for. */
int client_look(struct client *c);

/* Commands are put, and their answers got in the same order. Where c->is_pipelined several may be put before the first
 * answer is got (RFC 2920). Parameters that the server did not offer are left out. */
void client_put_mail(struct client *c, const struct sender *s);
void client_put_rcpt(struct client *c, const struct recipient *r);
void client_put_rset(struct client *c);
int client_get(struct client *c, const char *step, struct reply *ret);

/* DATA. `ret` is the reply; 354 is yes. */
int client_data(struct client *c, struct reply *ret);

/* Text of the message, LF lines. */
int client_send(struct client *c, const char *text, size_t n);

/* The final dot, to be followed by client_verdict(), once or for each recipient (LMTP). client_look() before it: what the
 * server says earlier is not said of the whole message. */
int client_end(struct client *c);
int client_verdict(struct client *c, struct reply *ret);

/* Closes without a word: a message that has begun has no end then. */
void client_abort(struct client *c);

/* Says QUIT, does not wait for the answer, closes. Nothing if it is not open. */
void client_close(struct client *c);
