/* SPDX-License-Identifier: MIT */
/* config/config.h - the one vocabulary of command line and configuration file, parsed into struct
 * config.
 *
 * Every option `--name=value` is also a line `name=value` in the file. This only parses the values;
 * it does not use them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "io/peer.h"

/* Defaults of fields that are not set. */
#define MAILMAN_DEFAULT "127.0.0.1:8024"
#define RELAY_FROM_DEFAULT "127.0.0.0/8,::1,local"
#define UPSTREAM_SECONDS 300
#define UPSTREAM_DOT_SECONDS 540

#define UPSTREAM_CA_DEFAULT "/etc/ssl/certs"

/* The highest number of a user: -1 is none. */
#define USER_NUMBER_MAX UINT64_C(0xfffffffe)

/* A certificate that the engine of an acceptor makes for itself. */
#define TLS_SELF_SIGNED "self-signed"

enum { HOSTNAME_MAX = 255, USER_MAX = 255, UPSTREAM_USER_MAX = 255 };

/* What clients are offered: smtpd.conf(5). */
enum tls_mode { TLS_UNSET, TLS_NO, TLS_STARTTLS, TLS_REQUIRED, TLS_IMPLICIT };

/* TLS and AUTH toward upstreams, likewise. */
enum upstream_tls {
        UPSTREAM_TLS_NO,
        UPSTREAM_TLS_OPPORTUNISTIC,
        UPSTREAM_TLS_REQUIRED,
        UPSTREAM_TLS_IMPLICIT,
};
enum upstream_auth {
        UPSTREAM_AUTH_ANY, /* PLAIN, or else LOGIN */
        UPSTREAM_AUTH_PLAIN,
        UPSTREAM_AUTH_LOGIN,
        UPSTREAM_AUTH_XOAUTH2,
};
/* Who verifies AUTH: not offered; nobody, every login is accepted; the upstream. */
enum auth_mode { AUTH_NO, AUTH_ANY, AUTH_UPSTREAM };

struct list {
        char **items;
        size_t n;
};

/* The place of an option. */
struct place {
        const char *file; /* NULL: on the command line */
        unsigned line;    /* 0: in no particular one */
};

struct config {
        const char *file; /* read as configuration file; NULL if there was none */
        const struct delivery_ops *const *strategies; /* those that there are; then NULL */
        const struct delivery_ops *strategy;
        bool is_reload;         /* the file was read before, and may take ten seconds now */
        bool is_strategy_given; /* by the command line or the file */
        char hostname[HOSTNAME_MAX + 1];
        bool is_lmtp;
        char **command;       /* NULL-terminated, for strategy exec; NULL if not given */
        char **filter;        /* the same, for strategies that pass messages on */
        char *maildir;        /* a directory, for strategy maildir; NULL if not given */
        struct list upstream; /* endpoints: io/connect.h */
        bool is_upstream_lmtp;
        uint64_t upstream_timeout; /* seconds; 0: UPSTREAM_SECONDS and UPSTREAM_DOT_SECONDS */
        enum upstream_tls upstream_tls;
        struct list upstream_tls_verify; /* "ca", "no", or certificates; empty: by the mode */
        char *upstream_tls_ca;           /* a file or a directory; NULL: UPSTREAM_CA_DEFAULT */
        char *upstream_tls_name;         /* NULL: the host of each */
        char *upstream_user;             /* NULL: nobody logs in */
        char *upstream_password;         /* a file */
        enum upstream_auth upstream_auth;
        bool xclient;
        bool split;    /* one destination per transaction */
        char *mailman; /* endpoint of Mailman 3's LMTP server; NULL: MAILMAN_DEFAULT */
        char *mailman_wrapper, *mailman_lists; /* Mailman 2.1 instead; NULL if not given */
        struct list relay_to;                  /* domains: deliver/relay.h */
        struct list relay_from;                /* networks: io/peer.h; empty: RELAY_FROM_DEFAULT */
        struct list proxy_from; /* networks of balancers that speak the PROXY protocol */
        bool proxy_tls;         /* TLS that ended there counts as ours */
        uint64_t max_size;      /* octets; 0: no limit */
        uint64_t max_recipients, max_commands, max_errors;
        uint64_t timeout, session_timeout, message_timeout; /* seconds */
        struct list reply, delay;                           /* rules: smtp/match.h */
        struct list bare_lf_from;                           /* networks: io/peer.h */
        char *qualify; /* a domain for addresses that have none; NULL if not given */
        bool trace;    /* log each command and reply */
        bool x_peer;
        bool sandbox;
        struct peer peer;        /* address "" if not given */
        char user[USER_MAX + 1]; /* a name or a number; "": that of user.h */

        enum auth_mode auth;

        /* TLS toward clients, by smtpd-tls(8) or another engine */
        enum tls_mode tls;                    /* after config_load() it is set */
        struct list tls_certificate, tls_key; /* files; or the certificate is TLS_SELF_SIGNED */
        char tls_user[USER_MAX + 1];          /* of the acceptor's engine; "": the same as `user` */
        char *tls_engine;    /* the socket of one that serves all; NULL if not given */
        bool tls_client;     /* ask for a certificate */
        char *tls_client_ca; /* a file; NULL if not given */
        bool tls_is_13;      /* not TLS 1.2 */

        /* for accepting connections */
        struct list listen, listen_tls; /* endpoints: io/listen.h */
        uint64_t max_connections, max_connections_per_source;
        uint64_t stop_timeout;   /* seconds */
        uint64_t exit_idle_time; /* seconds; 0 if not given */
        uint64_t count;          /* of messages, after which to end; 0: not given */
        struct place count_place, tls_certificate_place; /* of the last one */
        char *metrics_file;                              /* NULL if not given */

        /* what the command line asks for */
        enum {
                ACTION_SERVE,
                ACTION_CHECK,
                ACTION_CHECK_NETWORK,
                ACTION_HELP,
                ACTION_VERSION,
        } action;
};

/* Whether the configuration has sockets to listen on. */
static inline bool config_is_listening(const struct config *c) {
        return c->listen.n + c->listen_tls.n > 0;
}

/* Whether the peer is a balancer that sends PROXY headers. */
static inline bool config_is_balancer(const struct config *c, const struct peer *p) {
        for (size_t i = 0; i < c->proxy_from.n; i++)
                if (peer_is_in(p, c->proxy_from.items[i]))
                        return true;
        return false;
}

/* Whether the engine makes its own certificate. */
static inline bool config_is_self_signed(const struct config *c) {
        for (size_t i = 0; i < c->tls_certificate.n; i++)
                if (strcmp(c->tls_certificate.items[i], TLS_SELF_SIGNED) == 0)
                        return true;
        return false;
}

/* Whether the upstream's certificate is verified by authorities, and the file or directory of
 * these. */
bool config_upstream_is_verified(const struct config *c);
const char *config_upstream_ca(const struct config *c);

/* Called for each mistake. `where` is "FILE:LINE", "FILE" or "command line"; `what` says what is
 * wrong and what to do. */
typedef void config_complaint(const char *where, const char *what);

/* Reads the command line and the file that it names, or the default file if that exists and the
 * command line does not listen on loopback only. The command line takes precedence. The caller sets
 * `c->strategies`, `c->strategy` to the default, and `c->is_reload`; all else is overwritten.
 * `argv[argc]` is NULL. Complains about every mistake, not only the first. Returns 0, EX_USAGE if
 * the command line was wrong, EX_CONFIG if the file was (sysexits.h); `c` is usable for the action
 * in any case. */
int config_load(int argc, char **argv, struct config *c, config_complaint *complain);

/* Complains about what is only for accepting connections, as there is a single session. Returns as
 * config_load() does. */
int config_check_single(const struct config *c, config_complaint *complain);

/* Print the effective configuration as a configuration file, with a comment for the default of what
 * is not set; or only the part for a session, without the options for accepting connections. */
void config_print(const struct config *c, FILE *out);
void config_print_for_session(const struct config *c, FILE *out);

/* Frees what config_load() has put into it. */
void config_free(struct config *c);

/* The mode as it is written. */
const char *config_tls_word(enum tls_mode mode);

/* What smtpd-tls(8) is to do: speak on one connection, serve many, or look at its files. */
enum tls_task { TLS_TASK_CONNECTION, TLS_TASK_SERVE, TLS_TASK_CHECK };

/* The argv of smtpd-tls(8), with --user unless `user` is NULL. To be freed by config_tls_free();
 * NULL if memory runs out. */
char **config_tls_arguments(const struct config *c, enum tls_task task, const char *user);
void config_tls_free(char **arguments);

/* The same for TLS with an upstream. UPSTREAM_TO_LOOK accepts any certificate, to report what there
 * is. */
enum upstream_trust { UPSTREAM_TO_TRUST, UPSTREAM_TO_LOOK };
char **config_upstream_arguments(const struct config *c, const char *upstream,
                                 enum upstream_trust trust);

/* The same for an engine that serves all sessions; and the request to it for an upstream. Returns
 * the octets of the request, or 0 if it needs more than `room`. */
char **config_upstreams_arguments(const struct config *c, const char *user);
size_t config_upstream_request(const struct config *c, const char *upstream, char *ret,
                               size_t room);

/* Prints the options as --help shows them. Of the configuration only the strategies matter. */
void config_help(const struct config *c, FILE *out);
