/* SPDX-License-Identifier: MIT */
/* smtp/server.h - the server's side of an SMTP or LMTP session, as a state machine that takes
 * octets and returns events.
 *
 * RFC 5321 (SMTP), RFC 2033 (LMTP), RFC 2920 (pipelining), RFC 1870 (SIZE), RFC 6152 (8BITMIME),
 * RFC 6531 (SMTPUTF8), RFC 2034 (enhanced codes), RFC 3207 (STARTTLS), RFC 4954 (AUTH), RFC 9422
 * (LIMITS), RFC 3030 (CHUNKING, without BINARYMIME).
 *
 * It owns no descriptor, clock, memory or log. The caller feeds it and handles its events:
 *
 *      for (;;) {
 *              used = server_step(s, in, n, &event);
 *              in += used, n -= used;
 *              switch (event.kind) { ... SERVER_MORE: read more ... SERVER_CLOSE: done ... }
 *      }
 *
 * The same input gives the same events however it is cut into pieces. BODY events follow the cuts;
 * their octets, put together, are the same for every message that comes to its END. A caller that
 * defers answers gets the same replies, in the same order; how many questions it is asked before it
 * has to collect an answer follows the cuts, too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smtp/auth.h"
#include "smtp/body.h"
#include "smtp/command.h"
#include "smtp/reply.h"

enum {
        /* octets of a command line with its CRLF (RFC 5321 section 4.5.3.1.4 asks for 512) */
        COMMAND_MAX = 2048,
        HELO_MAX = 255,   /* octets of the client's name in HELO, EHLO, LHLO */
        SERVER_QUEUE = 4, /* events that one input can cause */
        /* answers that can be deferred: their replies take at most 8 KiB (RFC 2920 section 3.1) */
        SERVER_BATCH = 128,
        SERVER_AUTH_REFUSALS = 3, /* authentications that fail before the session ends */
};

/* What a session is like. */
struct server_rules {
        const char *hostname; /* ours, in the greeting and the EHLO reply */
        bool is_lmtp;         /* LHLO instead of HELO and EHLO; a verdict for each recipient */
        bool lf_is_line_end;  /* a transcript: LF alone ends lines too. Never from a socket */
        unsigned extensions;  /* to offer beyond our own: enum extension, or-ed */
        /* the domain of addresses that have none; NULL: they stay as they are */
        const char *qualify;
        bool needs_domain; /* those that have none are refused, but Postmaster */
        uint64_t max_size; /* octets as RFC 1870 counts; 0: no limit */
        /* of a message; and RCPT commands of a transaction, refused or not */
        unsigned max_recipients;
        unsigned max_commands; /* since a message was accepted: real work is not limited */
        /* commands answered 5xx, likewise; refused recipients only if none was accepted */
        unsigned max_errors;
        enum server_tls {
                SERVER_NO_TLS,
                SERVER_TLS_OFFERED,
                SERVER_TLS_REQUIRED, /* before anything that leads to a message */
        } tls;
        enum server_auth {
                SERVER_NO_AUTH,
                SERVER_AUTH_ALLOWED,
                SERVER_AUTH_NEEDS_TLS, /* secrets must not be said in clear */
        } auth;
};

/* "?" is a question: the caller gives its verdict with server_answer() before the next step. */
enum event_kind {
        SERVER_MORE, /* all input is used: flush replies, read more */
        /* ? HELO, EHLO or LHLO: event.hello. The answer is server_offer(): then that is who the
         * client is, and a transaction, if any, is over. Or it is a refusal, and all is as it
         * was (RFC 5321 section 4.1.4) */
        SERVER_HELLO,
        SERVER_SENDER,    /* ? MAIL: event.sender */
        SERVER_RECIPIENT, /* ? RCPT: event.recipient */
        SERVER_DATA,      /* ? DATA, or the first BDAT of a message: 354, or a refusal */
        /* decoded text of the message: event.data, event.n. It stands in the input, but for the
         * line end of a last chunk that had none */
        SERVER_BODY,
        SERVER_REPLY, /* say event.reply to the client */
        /* ? the message is complete. Asked once (SMTP), or for each accepted recipient in order
         * (LMTP, and SMTP with PRDR): event.n is its index */
        SERVER_END,
        SERVER_RESET, /* the transaction is over, for whatever reason */
        /* ? STARTTLS: 220 if TLS can begin after that reply, or a refusal. Octets that are there
         * already must never be presented inside TLS: somebody else may have put them there */
        SERVER_TLS,
        /* ? its 220 was said: TLS begins, or the session ends. The answer is server_secured() */
        SERVER_SECURE,
        /* ? AUTH, or the next line of its exchange: event.data, event.n, without line end, for
         * whoever decides: "AUTH", a mechanism in capitals and an initial response; or a
         * response in base64; or "*", which ends it. It is forgotten once it is answered. The
         * answer is 334, whose challenge the caller says in its reply; 235; or a refusal, which
         * ends it */
        SERVER_AUTH,
        /* ? the oldest deferred question needs its answer: MAIL's (event.is_sender), or a RCPT's */
        SERVER_COLLECT,
        SERVER_CLOSE, /* the session is over */
};

/* Whom a SERVER_REPLY refuses, if that was no verdict of the caller's. */
enum refused {
        REFUSED_NOBODY,
        REFUSED_SENDER,    /* event.sender */
        REFUSED_RECIPIENT, /* event.recipient */
        REFUSED_MESSAGE,   /* of all recipients */
};

/* What the client says of itself in HELO, EHLO or LHLO. */
struct hello {
        char name[HELO_MAX + 1];
        bool is_extended; /* it was EHLO or LHLO */
};

struct event {
        enum event_kind kind;
        enum refused refused;
        const struct hello *hello;
        const struct sender *sender;
        const struct recipient *recipient;
        const struct reply *reply;
        const char *data;
        size_t n;
        bool is_sender;
};

struct server {
        struct server_rules rules;
        char helo[HELO_MAX + 1];       /* "" until the client said it */
        unsigned n_commands, n_errors; /* of the session */
        bool is_extended;              /* it was EHLO or LHLO */
        bool is_secure;                /* it is spoken inside TLS */
        bool is_smtputf8;              /* of this transaction */
        bool is_prdr;                  /* likewise: its client hears a verdict for each recipient */
        char mechanism[AUTH_MECHANISM_MAX + 1];     /* of the last exchange */
        char authenticated[AUTH_MECHANISM_MAX + 1]; /* by which mechanism; "": the client is not */
        unsigned n_recipients;                      /* accepted in this transaction */
        uint64_t size; /* of the message in DATA, in octets as RFC 1870 counts */

        /* the rest is its own business */
        enum {
                SERVER_GREETING,
                SERVER_COMMANDS,
                SERVER_IN_AUTH, /* a challenge was said: the next line is a response */
                SERVER_IN_BODY,
                SERVER_IN_CHUNK, /* of BDAT: its octets are text */
                /* it is refused: they are nothing, and then `reply` is said */
                SERVER_IN_LOST_CHUNK,
                SERVER_VERDICTS,
                SERVER_CLOSED,
        } phase;
        /* what the client has done so far: enum precondition in server.c */
        unsigned done;
        enum event_kind queue[SERVER_QUEUE]; /* events to come, in order */
        unsigned n_queued;
        enum event_kind question;                /* whose answer is awaited; SERVER_MORE: none */
        unsigned n_idle_commands, n_idle_errors; /* since a message was accepted */
        /* RCPT commands of this transaction, and those that the destination refused */
        unsigned n_rcpts, n_refused;
        unsigned n_verdicts;     /* given for this message */
        bool is_leaving;         /* one of them was a 421: the session ends after the last one */
        unsigned n_deferred;     /* answers that are still to be collected */
        bool is_sender_deferred; /* the first of them is MAIL's */
        bool is_collecting;      /* until none is left */
        /* until they are collected: SERVER_REPLY (`held`), SERVER_RECIPIENT; SERVER_MORE:
         * nothing */
        enum event_kind postponed;
        struct reply held;    /* or the best verdict on this message */
        enum refused refused; /* by the reply to come that is our own */
        struct chunk {
                uint64_t n_left; /* octets still to come */
                bool is_last;    /* of its message */
        } chunk;
        enum flaw {
                NO_FLAW,
                TOO_BIG,
                BARE_CR,
                BARE_LF,
        } flaw;           /* of this message, which goes nowhere */
        unsigned n_empty; /* lines */
        enum content {
                NO_CONTENT,
                A_MESSAGE,
                AN_EXCHANGE,
                A_CHUNK, /* of BDAT: it says how long it is, and is taken in any case */
        } uninvited;     /* may follow the last command, though that was refused, and is
                          * no commands */
        char mechanisms[AUTH_MECHANISMS_MAX + 1]; /* that are offered */
        const struct fixed_reply *fault; /* in its last line, which ends it; NULL: there is none */
        unsigned n_auth_refusals;
        bool is_overlong; /* this command line */
        size_t n_shown;   /* octets of the last command, in `line`, that are no secret */
        bool is_after_cr; /* the last octet of the line so far was a CR */
        struct body_decoder body;
        struct reply reply;
        union {
                struct hello hello;
                struct sender sender;
                struct recipient recipient;
        };
        size_t n_line;
        size_t n_secret; /* octets of `line` for the caller, until it answers SERVER_AUTH */
        char line[AUTH_LINE_MAX]; /* last: few need much of it */
};

/* As in Received's "with" (RFC 3848, RFC 6531): SMTP, ESMTP, UTF8SMTP, LMTP, UTF8LMTP; at the end
 * of it an S inside TLS, and an A if the client has authenticated, but not for SMTP: the registry
 * has no such words. */
const char *server_protocol(const struct server *s);

void server_init(struct server *s, const struct server_rules *rules);

/* Takes octets and returns the next event. Returns how many of the n octets it used; the caller
 * passes the rest again. It may overwrite those it used (text is decoded in place). */
size_t server_step(struct server *s, char *in, size_t n, struct event *ret);

/* Whether there is a sender: MAIL was accepted, or its answer is deferred. */
bool server_has_sender(const struct server *s);

/* Whether each recipient of this transaction has a verdict of its own. */
bool server_has_own_verdicts(const struct server *s);
/* At SERVER_END of a message: whether its last chunk had no line end. One was added, and is
 * included in `size`. */
bool server_lacks_line_end(const struct server *s);

/* Whether `reply` is the session's last one. */
bool server_is_closed(const struct server *s);

/* Answers the last question. A 421 closes the session. */
void server_answer(struct server *s, const struct reply *verdict);

/* Instead of server_answer() to SERVER_SENDER or SERVER_RECIPIENT: the question has been passed on,
 * and the answer is to be collected. As long as whole RCPT lines stand in the input the machine
 * goes on asking; before anything else happens it asks SERVER_COLLECT for each deferred question,
 * in their order (RFC 2920: a batch stays a batch). */
void server_defer(struct server *s);

/* Instead of server_answer() to SERVER_RECIPIENT while n_deferred > 0: asks again when all deferred
 * answers are collected. */
void server_postpone(struct server *s);

/* The answer to SERVER_HELLO: what to offer, with limits in place of those in the rules, and the
 * mechanisms of AUTH, with blanks between them ("": there are none). */
void server_offer(struct server *s, const struct offer *o, const char *mechanisms);

/* The answer to SERVER_SECURE; or, before the first step, TLS was there from the first octet. All
 * that the client said in clear is forgotten (RFC 3207 section 4.2), its authentication too, but
 * for how many commands, errors and refused authentications there were. */
void server_secured(struct server *s);

/* The last of n_commands, without its line end and without secrets: of AUTH only the mechanism, and
 * nothing of the lines of its exchange, nor of what may be one after a refused AUTH. */
const char *server_command(const struct server *s, size_t *ret_n);

/* Ends the session from outside (time is up, SIGTERM): the next steps say `reply` and close,
 * whatever was due. */
void server_close(struct server *s, int code, const char *enhanced, const char *text);
