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
                "strategy maildir: put messages there; it has to exist") },
        { UNSET("upstream", endpoints, upstream, "HOST[:PORT]|/SOCKET", NULL,
                "where mail goes; several are tried in order"),
          GROUP("Strategies proxy and mailman") },
        { PROTOCOL("upstream-protocol", is_upstream_lmtp, "smtp", "what the upstream speaks") },
        { UNSET_SECONDS("upstream-timeout", upstream_timeout, UPSTREAM_TIMES " after the final dot",
                        "longest wait for the upstream, in each step") },
        { OPTION("upstream-tls", value_upstream_tls, upstream_tls,
                 "no|opportunistic|required|implicit",
                 "TLS toward the upstream; implicit: from the first octet, port 465"),
          .initial = "no" },
        { UNSET("upstream-tls-verify", upstream_verify, upstream_tls_verify, "ca|no|sha256:HEX",
                "ca; no with opportunistic",
                "whether its certificate is verified, or which one it is") },
        { UNSET("upstream-tls-ca", path, upstream_tls_ca, "FILE|DIRECTORY", UPSTREAM_CA_DEFAULT,
                "authorities that may have issued it (PEM)") },
        { UNSET("upstream-tls-name", upstream_name, upstream_tls_name, "NAME",
                "the host of upstream", "whom it has to be for") },
        { UNSET("upstream-user", upstream_user, upstream_user, "NAME", NULL,
                "log in to the upstream as this user") },
        { UNSET("upstream-password", tls_file, upstream_password, "FILE", NULL,
                "its first line is the password, or the token; without a slash: a credential") },
        { UNSET("upstream-auth", upstream_auth, upstream_auth, "plain|login|xoauth2",
                "plain or login, as the upstream offers", "how to log in") },
        { YES_NO("xclient", xclient, "no",
                 "tell the upstream who our client is, by XCLIENT, if it offers that") },
        { YES_NO("split", split, "no",
                 "one destination in a transaction: 452 to recipients of others") },
        { UNSET("filter", command, filter, "PROGRAM [ARG...]", NULL,
                "asked about each message before it is passed on; may add header fields") },
        { UNSET("mailman", endpoint, mailman, "HOST[:PORT]|/SOCKET", MAILMAN_DEFAULT,
                "strategy mailman: Mailman 3's LMTP server") },
        { UNSET("mailman-wrapper", path, mailman_wrapper, "PROGRAM", NULL,
                "strategy mailman: Mailman 2.1 instead, its mail/mailman program") },
        { UNSET("mailman-lists", path, mailman_lists, "DIR", NULL,
                "strategy mailman: the lists directory of Mailman 2.1") },
        { UNSET("relay-to", domains, relay_to, "DOMAIN", NULL,
                "recipients that anyone may reach; .DOMAIN: with subdomains") },
        { UNSET("relay-from", networks, relay_from, "ADDRESS[/BITS]", RELAY_FROM_DEFAULT,
                "clients that may reach everyone") },
        { UNSET("proxy-from", networks, proxy_from, "ADDRESS[/BITS]", NULL,
                "balancers: their connections begin with a header of the PROXY protocol") },
        { YES_NO("proxy-tls", proxy_tls, "no", "TLS that ends at such a balancer counts as ours") },
        { PROTOCOL("protocol", is_lmtp, "smtp",
                   "what we speak; lmtp (RFC 2033) has a verdict for each recipient"),
          GROUP("Sessions") },
        { YES_NO("x-peer", x_peer, "yes", "add X-Peer: ADDRESS as last header of the message") },
        { YES_NO("sandbox", sandbox, SANDBOX ? "yes" : "no", /* whether it is built that way */
                 "a session confines itself, as far as the kernel can") },
        { UNSET("peer", peer, peer, "ADDRESS[:PORT]", "from the connection",
                "who the client is, where stdin is no socket") },
        { UNSET("user", user, user, "NAME|UID", "smtpd if there is such a user, else nobody",
                "started as root: become this user, unless it is a transcript's") },
        { SIZE("max-size", max_size, 32M,
               "longest message, in octets or with K, M, G; 0: no limit"),
          GROUP("Limits") },
        { COUNT("max-recipients", max_recipients, 100, "recipients of a message") },
        { COUNT("max-commands", max_commands, 1000, "commands since a message was accepted") },
        { COUNT("max-errors", max_errors, 20, "commands refused since a message was accepted") },
        { SECONDS("timeout", timeout, 300, "longest wait for the client") },
        { SECONDS("session-timeout", session_timeout, 3600, "longest session, however busy") },
        { SECONDS("message-timeout", message_timeout, 540,
                  "from the end of a message to our reply to it") },
        { UNSET("reply", reply_rules, reply, "RULE", NULL,
                "STEP PATTERN NNN [x.y.z] TEXT: a refusal at connect, helo, mail, rcpt, data, "
                "message"),
          GROUP("Rules, tests and exceptions") },
        { UNSET("delay", delay_rules, delay, "RULE", NULL,
                "STEP PATTERN SECONDS: wait so long before that step is answered"),
          .max = YEAR },
        { UNSET("qualify", domain, qualify, "DOMAIN", NULL,
                "completes addresses without a domain") },
        { UNSET("bare-lf-from", networks, bare_lf_from, "ADDRESS[/BITS]", NULL,
                "own devices, whose lines may end with LF only") },
        { YES_NO("trace", trace, "no", "log each command and reply, without the secrets of AUTH") },
        { OPTION("auth", value_auth, auth, "no|any|upstream",
                 "AUTH; upstream: it is passed on; any: for tests, whoever logs in is believed"),
          GROUP("AUTH and TLS toward clients"), .initial = "no" },
        { UNSET("tls", tls, tls, "no|starttls|required|implicit",
                "starttls if there is a certificate or an engine, else no",
                "TLS toward clients; required: before mail; implicit: from the first octet") },
        { UNSET("tls-certificate", tls_certificates, tls_certificate, "FILE|self-signed", NULL,
                "certificate, then intermediates (PEM); self-signed: for developers, when "
                "accepting"),
          FOR_ACCEPTOR },
        { UNSET("tls-key", tls_keys, tls_key, "FILE", "in the certificate's file",
                "its private key; without a slash: a file in $CREDENTIALS_DIRECTORY"),
          FOR_ACCEPTOR },
        { UNSET("tls-user", user, tls_user, "NAME|UID", "that of the option user",
                "when accepting, started as root: whom the process with the key becomes"),
          FOR_ACCEPTOR },
        { UNSET("tls-engine", local_socket, tls_engine, "/SOCKET", NULL,
                "a process that has the key, and speaks TLS for us: smtpd-tls(8)") },
        { OPTION("tls-client", value_tls_client, tls_client, "no|ask",
                 "ask clients for a certificate; programs and the log hear of it"),
          .initial = "no", FOR_ACCEPTOR },
        { UNSET("tls-client-ca", tls_file, tls_client_ca, "FILE", NULL,
                "authorities of clients' certificates (PEM)"),
          FOR_ACCEPTOR },
        { OPTION("tls-minimum", value_tls_minimum, tls_is_13, "1.2|1.3", "oldest version of TLS"),
          .initial = "1.2", FOR_ACCEPTOR },
        { UNSET("listen", listen, listen, "ADDRESS:PORT|PORT|/SOCKET", NULL,
                "accept connections here, a process for each; PORT alone: of loopback"),
          FOR_ACCEPTOR, GROUP("Accepting connections") },
        { UNSET("listen-tls", listen, listen_tls, "ADDRESS:PORT|PORT|/SOCKET", NULL,
                "accept connections here that are TLS from the first octet"),
          FOR_ACCEPTOR },
        { COUNT("max-connections", max_connections, 100, "when accepting: sessions at once"),
          FOR_ACCEPTOR },
        { COUNT("max-connections-per-source", max_connections_per_source, 20,
                "when accepting: sessions at once with one address (IPv6: /64)"),
          FOR_ACCEPTOR },
        { SECONDS("stop-timeout", stop_timeout, 10,
                  "what a message under way has to end after SIGTERM") },
        { UNSET_SECONDS("exit-idle-time", exit_idle_time, "never",
                        "when accepting: exit after so long without a session"),
          FOR_ACCEPTOR },
        { UNSET("count", optional_number, count, "N", "no limit",
                "when accepting: end after so many messages, with status 0; else with 75"),
          .min = 1, .max = COUNT_MAX, FOR_ACCEPTOR },
        { UNSET("metrics-file", any_path, metrics_file, "FILE", NULL,
                "when accepting: figures for Prometheus, written every 10 seconds and at the end"),
          FOR_ACCEPTOR },
        { ACTION("check", ACTION_CHECK, "[network]",
                 "check the configuration and print it; network: ask for the names in it too"),
          GROUP("Instead of serving") },
        { ACTION("help", ACTION_HELP, NULL, "show this; -h too") },
        { ACTION("version", ACTION_VERSION, NULL, "show the version; -V too") },
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
