/* SPDX-License-Identifier: MIT */
/* config/options.c - the table of options: one row each, with its default. */
#include "config/options.h"

#include <string.h>

#include "base/array.h"

enum { YEAR = 365 * 24 * 3600 };

/* Where a mail system's limits end and mistakes begin. */
#define SIZE_MAX_OCTETS (UINT64_C(1) << 62)
#define COUNT_MAX UINT64_C(1000000)

#define OPTION(name_, kind_, field_, syntax_, help_)                                               \
        .name = (name_), .kind = &(kind_), .field = offsetof(struct config, field_),               \
        .syntax = (syntax_), .help = (help_)

/* Options with a default are NAME, FIELD, DEFAULT, HELP. */
#define COUNT(name_, field_, default_, help_)                                                      \
        OPTION(name_, value_number, field_, "N", help_), .min = 1, .max = COUNT_MAX,               \
                .initial = #default_
#define SECONDS(name_, field_, default_, help_)                                                    \
        OPTION(name_, value_seconds, field_, "SECONDS", help_), .min = 1, .max = YEAR,             \
                .initial = #default_
#define SIZE(name_, field_, default_, help_)                                                       \
        OPTION(name_, value_size, field_, "BYTES", help_), .max = SIZE_MAX_OCTETS,                 \
                .initial = #default_
#define YES_NO(name_, field_, default_, help_)                                                     \
        OPTION(name_, value_yes_no, field_, "yes|no", help_), .initial = default_
#define PROTOCOL(name_, field_, default_, help_)                                                   \
        OPTION(name_, value_protocol, field_, "smtp|lmtp", help_), .initial = default_

/* Others are NAME, KIND, FIELD, SYNTAX, HELP; and what is used while they are not set. */
#define UNSET(name_, kind_, field_, syntax_, fallback_, help_)                                     \
        OPTION(name_, value_##kind_, field_, syntax_, help_), .fallback = fallback_
#define UNSET_SECONDS(name_, field_, fallback_, help_)                                             \
        UNSET(name_, optional_seconds, field_, "SECONDS", fallback_, help_), .min = 1, .max = YEAR

#define ACTION(name_, action_, syntax_, help_)                                                     \
        OPTION(name_, value_action, action, syntax_, help_), .min = action_

#define FOR_ACCEPTOR .is_for_acceptor = true
#define GROUP(heading) .group = heading

#define DIGITS_OF(number) #number
#define DIGITS(macro) DIGITS_OF(macro)
#define UPSTREAM_TIMES DIGITS(UPSTREAM_SECONDS) ", " DIGITS(UPSTREAM_DOT_SECONDS)

const struct option options[] = {
        { UNSET("config", file, file, "FILE",
                DEFAULT_CONFIG ", if it exists; none with --listen on loopback only",
                "read this configuration file"),
          GROUP("What to do with messages") },
        { UNSET("strategy", strategy, strategy, "NAME",
                "journal if standard error is the journal or systemd started us, else print",
                "what to do with messages: ") }, /* and the names that there are */
        { UNSET("hostname", hostname, hostname, "NAME", "the system's",
                "our name in the greeting and the EHLO reply") },
        { UNSET("command", command, command, "PROGRAM [ARG...]", NULL,
                "strategy exec: run this for each message") },
        { UNSET("maildir", any_path, maildir, "DIR", NULL,
                "strategy maildir: the Maildir to deliver to; it must exist") },
        { UNSET("upstream", endpoints, upstream, "HOST[:PORT]|/SOCKET", NULL,
                "server to pass mail on to; several are tried in order"),
          GROUP("Strategies proxy and mailman") },
        { PROTOCOL("upstream-protocol", is_upstream_lmtp, "smtp", "protocol of the upstream") },
        { UNSET_SECONDS("upstream-timeout", upstream_timeout, UPSTREAM_TIMES " after the final dot",
                        "longest wait for the upstream in each step") },
        { OPTION("upstream-tls", value_upstream_tls, upstream_tls,
                 "no|opportunistic|required|implicit",
                 "TLS with the upstream; implicit: from the first octet, port 465"),
          .initial = "no" },
        { UNSET("upstream-tls-verify", upstream_verify, upstream_tls_verify, "ca|no|sha256:HEX",
                "ca; no with opportunistic",
                "how to verify its certificate; sha256: accept only that one") },
        { UNSET("upstream-tls-ca", path, upstream_tls_ca, "FILE|DIRECTORY", UPSTREAM_CA_DEFAULT,
                "trusted authorities (PEM)") },
        { UNSET("upstream-tls-name", upstream_name, upstream_tls_name, "NAME",
                "the host of upstream", "name that its certificate must be for") },
        { UNSET("upstream-user", upstream_user, upstream_user, "NAME", NULL,
                "log in to the upstream as this user") },
        { UNSET("upstream-password", tls_file, upstream_password, "FILE", NULL,
                "file whose first line is the password or token; without a slash: a credential") },
        { UNSET("upstream-auth", upstream_auth, upstream_auth, "plain|login|xoauth2",
                "plain or login, as the upstream offers", "mechanism to log in with") },
        { YES_NO("xclient", xclient, "no",
                 "tell the upstream our client's address and name with XCLIENT, if it offers "
                 "that") },
        { YES_NO("split", split, "no",
                 "one destination per transaction; recipients of others get 452") },
        { UNSET("filter", command, filter, "PROGRAM [ARG...]", NULL,
                "run for each message before it is passed on; can add header fields") },
        { UNSET("mailman", endpoint, mailman, "HOST[:PORT]|/SOCKET", MAILMAN_DEFAULT,
                "strategy mailman: Mailman 3's LMTP server") },
        { UNSET("mailman-wrapper", path, mailman_wrapper, "PROGRAM", NULL,
                "strategy mailman: mail/mailman program of Mailman 2.1, instead of 3") },
        { UNSET("mailman-lists", path, mailman_lists, "DIR", NULL,
                "strategy mailman: lists directory of Mailman 2.1") },
        { UNSET("relay-to", domains, relay_to, "DOMAIN", NULL,
                "domain that anyone may send to; .DOMAIN: with subdomains") },
        { UNSET("relay-from", networks, relay_from, "ADDRESS[/BITS]", RELAY_FROM_DEFAULT,
                "clients that may send to anyone") },
        { UNSET("proxy-from", networks, proxy_from, "ADDRESS[/BITS]", NULL,
                "load balancers; their connections begin with a PROXY protocol header") },
        { YES_NO("proxy-tls", proxy_tls, "no", "TLS that ends at such a balancer counts as TLS") },
        { PROTOCOL("protocol", is_lmtp, "smtp",
                   "protocol to speak; lmtp (RFC 2033) has a verdict for each recipient"),
          GROUP("Sessions") },
        { YES_NO("x-peer", x_peer, "yes",
                 "add X-Peer: ADDRESS as the last header field of the message") },
        { YES_NO("sandbox", sandbox, SANDBOX ? "yes" : "no", /* whether it is built that way */
                 "sessions confine themselves, if the kernel supports it") },
        { UNSET("peer", peer, peer, "ADDRESS[:PORT]", "from the connection",
                "the client's address, if standard input is not a socket") },
        { UNSET("user", user, user, "NAME|UID", PROGRAM " if there is such a user, else nobody",
                "if started as root, switch to this user, except for a transcript") },
        { SIZE("max-size", max_size, 32M,
               "longest message, in octets or with K, M, G; 0: no limit"),
          GROUP("Limits") },
        { COUNT("max-recipients", max_recipients, 100, "recipients per message") },
        { COUNT("max-commands", max_commands, 1000, "commands since a message was accepted") },
        { COUNT("max-errors", max_errors, 20, "commands refused since a message was accepted") },
        { SECONDS("timeout", timeout, 300, "longest wait for the client") },
        { SECONDS("session-timeout", session_timeout, 3600, "longest session, even a busy one") },
        { SECONDS("message-timeout", message_timeout, 540,
                  "longest time from the end of a message to our reply") },
        { UNSET("reply", reply_rules, reply, "RULE", NULL,
                "STEP PATTERN NNN [x.y.z] TEXT: refuse at connect, helo, mail, rcpt, data or "
                "message"),
          GROUP("Rules, tests and exceptions") },
        { UNSET("delay", delay_rules, delay, "RULE", NULL,
                "STEP PATTERN SECONDS: wait before that step is answered"),
          .min = 1, .max = YEAR },
        { UNSET("qualify", domain, qualify, "DOMAIN", NULL,
                "domain to add to addresses without one") },
        { UNSET("bare-lf-from", networks, bare_lf_from, "ADDRESS[/BITS]", NULL,
                "clients whose lines may end with LF alone, such as old devices") },
        { YES_NO("trace", trace, "no", "log each command and reply, without AUTH's secrets") },
        { OPTION("auth", value_auth, auth, "no|any|upstream",
                 "offer AUTH; upstream: pass it on; any: accept every login, for tests"),
          GROUP("AUTH and TLS with clients"), .initial = "no" },
        { UNSET("tls", tls, tls, "no|starttls|required|implicit",
                "starttls if there is a certificate or an engine, else no",
                "TLS with clients; required: no mail without it; implicit: from the first octet") },
        { UNSET("tls-certificate", tls_certificates, tls_certificate, "FILE|self-signed", NULL,
                "certificate, then intermediates (PEM); self-signed: for developers, with "
                "--listen"),
          FOR_ACCEPTOR },
        { UNSET("tls-key", tls_keys, tls_key, "FILE", "in the certificate's file",
                "its private key; without a slash: a file in $CREDENTIALS_DIRECTORY"),
          FOR_ACCEPTOR },
        { UNSET("tls-user", user, tls_user, "NAME|UID", "that of the option user",
                "if started as root, user that the process with the key switches to"),
          FOR_ACCEPTOR },
        { UNSET("tls-engine", local_socket, tls_engine, "/SOCKET", NULL,
                "socket of a process that has the key and speaks TLS: smtpd-tls(8)") },
        { OPTION("tls-client", value_tls_client, tls_client, "no|ask",
                 "ask clients for a certificate, for programs and the log"),
          .initial = "no", FOR_ACCEPTOR },
        { UNSET("tls-client-ca", tls_file, tls_client_ca, "FILE", NULL,
                "authorities for clients' certificates (PEM)"),
          FOR_ACCEPTOR },
        { OPTION("tls-minimum", value_tls_minimum, tls_is_13, "1.2|1.3",
                 "oldest accepted version of TLS"),
          .initial = "1.2", FOR_ACCEPTOR },
        { UNSET("listen", listen, listen, "ADDRESS:PORT|PORT|/SOCKET", NULL,
                "accept connections here; PORT alone: on loopback"),
          FOR_ACCEPTOR, GROUP("Accepting connections") },
        { UNSET("listen-tls", listen, listen_tls, "ADDRESS:PORT|PORT|/SOCKET", NULL,
                "accept connections here, with TLS from the first octet"),
          FOR_ACCEPTOR },
        { COUNT("max-connections", max_connections, 100, "sessions at the same time"),
          FOR_ACCEPTOR },
        { COUNT("max-connections-per-source", max_connections_per_source, 20,
                "sessions at the same time from one address (IPv6: /64)"),
          FOR_ACCEPTOR },
        { SECONDS("stop-timeout", stop_timeout, 10,
                  "time for a message under way to complete after SIGTERM") },
        { UNSET_SECONDS("exit-idle-time", exit_idle_time, "never",
                        "exit after this time without a session"),
          FOR_ACCEPTOR },
        { UNSET("count", optional_number, count, "N", "no limit",
                "exit with status 0 after this many messages, otherwise with 75"),
          .min = 1, .max = COUNT_MAX, FOR_ACCEPTOR },
        { UNSET("metrics-file", any_path, metrics_file, "FILE", NULL,
                "metrics for Prometheus, written every 10 seconds and at the end"),
          FOR_ACCEPTOR },
        { ACTION("check", ACTION_CHECK, "[network]",
                 "check the configuration and print it; network: also look up names and try TLS"),
          GROUP("Instead of serving") },
        { ACTION("help", ACTION_HELP, NULL, "show this; also -h") },
        { ACTION("version", ACTION_VERSION, NULL, "show the version; also -V") },
        { NULL },
};

_Static_assert(ELEMENTS(options) <= N_OPTIONS_MAX, "N_OPTIONS_MAX is too small");

const struct option *options_find(const char *name, size_t n) {
        for (const struct option *o = options; o->name; o++)
                if (strlen(o->name) == n && memcmp(o->name, name, n) == 0)
                        return o;
        return NULL;
}

bool options_is_for_file(const struct option *o) {
        return o->kind != &value_action && o->kind != &value_file;
}

void *options_field(const struct option *o, struct config *c) {
        return (char *) c + o->field;
}

const void *options_value(const struct option *o, const struct config *c) {
        return (const char *) c + o->field;
}
