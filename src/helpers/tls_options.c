/* SPDX-License-Identifier: MIT */
/* helpers/tls_options.c - how smtpd-tls is called. */
#include "helpers/tls_options.h"

#include <getopt.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/ascii.h"

static const char usage[] =
        "Usage: smtpd-tls [OPTION...] [PROGRAM [ARGUMENT...]]\n"
        "TLS for the connection on descriptor 0: at once, or when PROGRAM asks for it\n"
        "(UCSPI-TLS). See smtpd-tls(8).\n"
        "\n"
        "  --certificate=FILE     certificate and intermediates, PEM; several: RSA, ECDSA;\n"
        "                         self-signed, with --serve: make one for --hostname\n"
        "  --key=FILE             its key, in the same order (default: the certificate's file)\n"
        "  --minimum=1.2|1.3      oldest accepted version of TLS (default: 1.2)\n"
        "  --client=no|ask        whether to ask clients for a certificate (default: no)\n"
        "  --client-ca=FILE       authorities for clients' certificates, PEM\n"
        "  --hostname=NAME        name that the certificate is for\n"
        "  --connect              be the client: the connection leads to a server, or with\n"
        "                         --serve each connection does; needs no certificate\n"
        "  --name=NAME            with --connect: name that the server's certificate must be for\n"
        "  --verify=ca|no|sha256:HEX\n"
        "                         with --connect: how to verify that certificate (default: no)\n"
        "  --ca=FILE|DIRECTORY    with --connect: trusted authorities, PEM\n"
        "  --timeout=SECONDS      longest handshake, at most 60 (default: 60)\n"
        "  --user=NAME            with --serve: user to switch to after the key is read; with\n"
        "                         --check: user who will read it\n"
        "  --serve                serve connections on request, on the socket on descriptor 0\n"
        "  --check                check certificate and key\n"
        "  --help, --version      show this; show the version";

enum which {
        HELP,
        VERSION_,
        CERTIFICATE,
        KEY,
        MINIMUM,
        CLIENT,
        CLIENT_CA,
        HOSTNAME,
        TIMEOUT,
        USER,
        CONNECT,
        NAME,
        VERIFY,
        CA,
        SERVE,
        CHECK,
};

static const struct option table[] = {
        { "help", no_argument, NULL, HELP },
        { "version", no_argument, NULL, VERSION_ },
        { "certificate", required_argument, NULL, CERTIFICATE },
        { "key", required_argument, NULL, KEY },
        { "minimum", required_argument, NULL, MINIMUM },
        { "client", required_argument, NULL, CLIENT },
        { "client-ca", required_argument, NULL, CLIENT_CA },
        { "hostname", required_argument, NULL, HOSTNAME },
        { "timeout", required_argument, NULL, TIMEOUT },
        { "user", required_argument, NULL, USER },
        { "connect", no_argument, NULL, CONNECT },
        { "name", required_argument, NULL, NAME },
        { "verify", required_argument, NULL, VERIFY },
        { "ca", required_argument, NULL, CA },
        { "serve", no_argument, NULL, SERVE },
        { "check", no_argument, NULL, CHECK },
        { NULL, 0, NULL, 0 },
};

static bool add(const char *list[static TLS_CERTIFICATES_MAX], size_t *n, const char *value) {
        if (*n == TLS_CERTIFICATES_MAX || !*value)
                return false;
        list[(*n)++] = value;
        return true;
}

/* The index of a word among two; -1: it is neither. */
static int word_of(const char *value, const char *first, const char *second) {
        return strcmp(value, first) == 0 ? 0 : strcmp(value, second) == 0 ? 1 : -1;
}

static bool set_minimum(struct tls_options *o, const char *value) {
        int version = word_of(value, "1.2", "1.3");

        o->minimum = version == 1 ? TLS1_3_VERSION : TLS1_2_VERSION;
        return version >= 0;
}

static bool set_client(struct tls_options *o, const char *value) {
        int is_asked = word_of(value, "no", "ask");

        o->is_client_asked = is_asked == 1;
        return is_asked >= 0;
}

static bool set_timeout(struct tls_options *o, const char *value) {
        uint64_t seconds;

        if (!ascii_parse_number(value, UINT32_MAX, &seconds) || seconds == 0)
                return false;
        o->timeout = seconds < TLS_SECONDS_MAX ? (unsigned) seconds : TLS_SECONDS_MAX;
        return true;
}

static bool set_role(struct tls_options *o, enum tls_role role) {
        bool is_first = o->role == TLS_ONE_CONNECTION;

        o->role = role;
        return is_first;
}

static bool set(struct tls_options *o, enum which option, const char *value) {
        switch (option) {
        case CERTIFICATE: return add(o->certificates, &o->n_certificates, value);
        case KEY: return add(o->keys, &o->n_keys, value);
        case MINIMUM: return set_minimum(o, value);
        case CLIENT: return set_client(o, value);
        case TIMEOUT: return set_timeout(o, value);
        case SERVE: return set_role(o, TLS_SERVE);
        case CHECK: return set_role(o, TLS_CHECK);
        case CLIENT_CA: o->client_ca = value; return *value != '\0';
        case HOSTNAME: o->hostname = value; return *value != '\0';
        case CONNECT: o->is_connecting = true; return true;
        case NAME: o->trust.name = value; return *value != '\0';
        case VERIFY: return tls_trust_add(&o->trust, value);
        case CA: o->ca = value; return *value != '\0';
        case USER: o->user = value; return *value != '\0';
        case HELP:
        case VERSION_: break;
        }
        return false;
}

bool tls_options_is_self_signed(const struct tls_options *o) {
        return o->n_certificates == 1 && strcmp(o->certificates[0], TLS_SELF_SIGNED) == 0;
}

/* What does not go together for a client; NULL: nothing. */
static const char *find_contradiction_of_client(const struct tls_options *o) {
        if (o->n_certificates > 0 || o->n_keys > 0 || o->is_client_asked || o->client_ca)
                return "--connect makes no sense with options of a server's certificate and "
                       "clients";
        if (o->role == TLS_CHECK || o->program)
                return "--connect is for the connection on descriptor 0, or for --serve";
        if (o->role == TLS_SERVE && (o->trust.name || o->trust.is_verified || o->trust.n_pins > 0))
                return "--name= and --verify= come with each request to --serve";
        return o->trust.is_verified && !o->ca ? "--verify=ca needs --ca=FILE or DIRECTORY" : NULL;
}

/* What does not go together; NULL: nothing. */
static const char *find_contradiction(const struct tls_options *o) {
        if (o->is_connecting)
                return find_contradiction_of_client(o);
        if (o->ca || o->trust.name || o->trust.is_verified || o->trust.n_pins > 0)
                return "--name=, --verify= and --ca= make no sense without --connect";
        if (o->n_certificates == 0)
                return "--certificate= is missing: the file of a certificate";
        if (o->n_keys > 0 && o->n_keys != o->n_certificates)
                return "--key= must be given as often as --certificate=, or not at all";
        if (tls_options_is_self_signed(o) && o->n_keys > 0)
                return "--certificate=self-signed makes its own key: remove --key=";
        if (tls_options_is_self_signed(o) && o->role == TLS_ONE_CONNECTION)
                return "--certificate=self-signed is for --serve only: otherwise each connection "
                       "would have another";
        if (o->program && o->role != TLS_ONE_CONNECTION)
                return "--serve and --check take options only, no arguments";
        if (o->client_ca && !o->is_client_asked)
                return "--client-ca= does nothing without --client=ask";
        return NULL;
}

static int complain(const char *what) {
        fprintf(stderr, "smtpd-tls: %s\n", what);
        return EX_USAGE;
}

static int refuse(const char *name, const char *value) {
        if (!value)
                return complain("give --serve or --check, only one of them, and only once");
        fprintf(stderr, "smtpd-tls: --%s=%s: not a valid value; see --help\n", name, value);
        return EX_USAGE;
}

int tls_options_read(struct tls_options *ret, int argc, char **argv) {
        const char *contradiction;
        int option;

        *ret = (struct tls_options) { .minimum = TLS1_2_VERSION, .timeout = TLS_SECONDS_MAX };
        while ((option = getopt_long(argc, argv, "+", table, NULL)) != -1) {
                if (option == HELP || option == VERSION_) {
                        puts(option == HELP ? usage : "smtpd-tls " VERSION);
                        return EX_OK;
                }
                if (option == '?') /* getopt has said what */
                        return EX_USAGE;
                if (!set(ret, (enum which) option, optarg))
                        return refuse(table[option].name, optarg);
        }
        ret->program = argc > optind ? argv + optind : NULL;
        contradiction = find_contradiction(ret);
        return contradiction ? complain(contradiction) : -1;
}
