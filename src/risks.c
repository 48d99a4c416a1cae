/* SPDX-License-Identifier: MIT */
/* risks.c - what is allowed in a configuration, and yet risky. */
#include "risks.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "broker/executable.h"
#include "io/connect.h"
#include "io/endpoint.h"
#include "io/peer.h"
#include "io/spool.h"
#include "sandbox.h"
#include "user.h"

struct checking {
        config_complaint *warn;
        const char *option; /* the one that is looked at */
};

__attribute__((format(printf, 2, 3))) static void warn(const struct checking *k, const char *format,
                                                       ...) {
        char what[EXECUTABLE_REASON_MAX + 512];
        va_list ap;

        va_start(ap, format);
        text_format_list(what, sizeof(what), format, ap);
        va_end(ap);
        k->warn(k->option, what);
}

static void check_network(const struct checking *k, const char *network) {
        if (peer_is_wide(network))
                warn(k,
                     "%.100s may send mail to anyone through this host (an open relay): list your "
                     "own networks only",
                     network);
}

static void check_balancer(const struct checking *k, const char *network) {
        if (peer_is_wide(network))
                warn(k, "%.100s can claim to be any client: list your balancers only", network);
}

/* Whether it begins on this host. */
static bool is_here(const char *network) {
        char address[PEER_TEXT_MAX];
        struct peer p;

        text_format(address, sizeof(address), "%.*s", (int) strcspn(network, "/"), network);
        return peer_parse(address, &p) && peer_is_here(&p);
}

static void check_proxy_tls(const struct checking *k, const char *network) {
        if (!is_here(network))
                warn(k,
                     "mail that clients sent over TLS comes from %.100s in plain text: let " PROGRAM
                     " speak TLS (tls-certificate), unless nobody else is on that network",
                     network);
}

/* ".org" */
static void check_domain(const struct checking *k, const char *domain) {
        if (*domain == '.' && !strchr(domain + 1, '.'))
                warn(k,
                     "%.255s means all domains below it (an open relay for them): list your own "
                     "domains only",
                     domain);
}

/* access(2) as a user that root would become, in a process of its own. Returns 0 or an errno. */
static int access_as(const char *user, const char *path, int mode) {
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                int r = user_become(user);

                _exit(r < 0 ? -r : access(path, mode) < 0 ? errno : 0);
        }
        if (pid < 0 || waitpid(pid, &status, 0) < 0)
                return errno;
        return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* What root can reach, and the user that is to serve cannot. At --check that is the user we would
 * become; after that, we. */
static void check_access(const struct checking *k, const struct config *c, const char *path,
                         int mode, const char *consequence) {
        const char *user = *c->user ? c->user : user_default();
        int error = 0;

        if (geteuid() != 0)
                error = access(path, mode) < 0 ? errno : 0;
        else if (config_is_listening(c) || *c->user)
                error = access_as(user, path, mode);
        if (error == EACCES)
                warn(k,
                     "user %.64s has no access to %.300s, %s: chmod it or the directories above it",
                     user, path, consequence);
}

static bool is_writable_by_others(const struct stat *st) {
        return st->st_mode & S_IWOTH && !(S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX);
}

/* What is longer than any path can be is cut: nothing is there. */
static void directory_of(const char *path, char ret[static PATH_MAX]) {
        const char *slash = strrchr(path, '/');

        if (!slash)
                text_format(ret, PATH_MAX, ".");
        else
                text_format(ret, PATH_MAX, "%.*s", slash == path ? 1 : (int) (slash - path), path);
}

/* A file that is as trusted as we are, and the directory it is in. */
static void check_writers(const struct checking *k, const char *path, const struct stat *st) {
        char directory[PATH_MAX];
        struct stat of_directory;

        if (is_writable_by_others(st))
                warn(k, "everyone can write to %.300s: chmod o-w it", path);
        directory_of(path, directory);
        if (stat(directory, &of_directory) == 0 && is_writable_by_others(&of_directory))
                warn(k, "everyone can replace %.300s: chmod o-w its directory", path);
}

/* It is read by its interpreter, as the user. */
static bool is_script(const char *path) {
        char begin[2];
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        bool has_mark = pread(fd, begin, sizeof(begin), 0) == (ssize_t) sizeof(begin) &&
                        memcmp(begin, "#!", sizeof(begin)) == 0;

        if (fd >= 0)
                close(fd);
        return has_mark;
}

static void check_program(const struct checking *k, const struct config *c, const char *name) {
        char room[PATH_MAX], reason[EXECUTABLE_REASON_MAX];
        const char *path = executable_find(name, room);
        struct stat st;

        if (executable_diagnose(name, path, 0, reason))
                warn(k, "%.300s: %s; until it can be run, every message gets 451", name, reason);
        else if (stat(path, &st) == 0) {
                check_writers(k, path, &st);
                check_access(k, c, path, is_script(path) ? R_OK | X_OK : X_OK,
                             "so every message would get 451");
        }
}

/* What it is for, and what becomes of that without it. */
struct directory {
        const char *purpose, *without, *consequence;
        int mode;
};

static void check_directory(const struct checking *k, const struct config *c, const char *path,
                            const struct directory *d) {
        struct stat st;

        if (stat(path, &st) < 0)
                warn(k, "%.300s: %s; until it is there, %s", path, strerror(errno), d->without);
        else if (!S_ISDIR(st.st_mode))
                warn(k, "%.300s is not a directory: name %s", path, d->purpose);
        else
                check_access(k, c, path, d->mode, d->consequence);
}

static void check_endpoint(const struct checking *k, const char *endpoint) {
        const char *why = connect_resolve(endpoint);

        if (why)
                warn(k, "%.300s: %s; until that changes, mail for it gets 451", endpoint, why);
}

static void check_socket(const struct checking *k, const struct config *c, const char *path) {
        struct stat st;

        if (stat(path, &st) < 0)
                warn(k,
                     "%.300s: %s; until it is there, no client gets TLS: systemctl start " PROGRAM
                     "-tls.socket",
                     path, strerror(errno));
        else if (!S_ISSOCK(st.st_mode))
                warn(k,
                     "%.300s is not a socket, so no client gets TLS: name the socket of smtpd-tls",
                     path);
        else
                check_access(k, c, path, W_OK, "so no client would get TLS");
}

/* An upstream on another host. */
static void check_clear(const struct checking *k, const struct config *c, const char *upstream) {
        if (endpoint_is_here(upstream) || c->upstream_tls > UPSTREAM_TLS_OPPORTUNISTIC)
                return;
        if (c->upstream_tls == UPSTREAM_TLS_NO)
                warn(k,
                     "mail goes to %.300s in plain text: choose upstream-tls=required or implicit, "
                     "if it supports that",
                     upstream);
        else
                warn(k,
                     "an attacker between us and %.300s can force mail for it into plain text: "
                     "choose upstream-tls=required or implicit, if it supports that",
                     upstream);
}

static void check_authorities(const struct checking *k, const struct config *c, const char *path) {
        struct stat st;

        if (stat(path, &st) < 0)
                warn(k, "%.300s: %s; until it is there, nothing is served", path, strerror(errno));
        else
                check_access(k, c, path, S_ISDIR(st.st_mode) ? R_OK | X_OK : R_OK,
                             "so no upstream could be verified");
}

static void check_password(const struct checking *k, const struct config *c, const char *path) {
        struct stat st;

        if (*path != '/' || stat(path, &st) < 0) {
                warn(k, "%.300s: %s; until it is there, nobody can log in to the upstream", path,
                     *path == '/' ? strerror(errno)
                                  : "it is a credential of the unit, which is not available here");
                return;
        }
        if (st.st_mode & S_IRWXO)
                warn(k,
                     "everyone on this host can read %.300s: chmod o= it, and change the password "
                     "unless all of them are trusted",
                     path);
        if (!config_is_listening(c))
                check_access(k, c, path, R_OK, "so nobody could log in to the upstream");
}

/* A password for whoever answers. */
static void check_trust(const struct checking *k, const struct config *c) {
        if (c->upstream_tls > UPSTREAM_TLS_OPPORTUNISTIC && c->upstream_tls_verify.n > 0 &&
            strcmp(c->upstream_tls_verify.items[0], "no") == 0)
                warn(k,
                     "an impostor of the upstream would get the %s: verify its certificate with "
                     "upstream-tls-ca=FILE, or pin it (sha256:)",
                     c->upstream_user ? "password" : "mail");
}

/* Sooner or later: who serves finds it out by writing, at once, and logs that. */
static void check_metrics(const struct checking *k, const struct config *c) {
        static const struct directory place = { "a file in a directory",
                                                "no metrics are written: mkdir it",
                                                "so no metrics would be written", W_OK | X_OK };
        char directory[PATH_MAX];
        struct stat st;

        directory_of(c->metrics_file, directory);
        check_directory(k, c, directory, &place);
        if (stat(c->metrics_file, &st) == 0 && S_ISDIR(st.st_mode))
                warn(k, "%.300s is a directory, so no metrics would be written: name a file in it",
                     c->metrics_file);
}

static void check_file(const struct checking *k, const char *path) {
        struct stat st;

        if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
                check_writers(k, path, &st);
}

static void check_directories(struct checking *k, const struct config *c) {
        static const struct directory lists = { "the lists directory of Mailman 2.1",
                                                "no list is found", "so no list would be found",
                                                X_OK };
        static const struct directory maildir = { "a directory for messages",
                                                  "every message gets 451: mkdir it",
                                                  "so every message would get 451", W_OK | X_OK };

        k->option = "mailman-lists";
        if (c->mailman_lists)
                check_directory(k, c, c->mailman_lists, &lists);
        k->option = "maildir";
        if (c->maildir)
                check_directory(k, c, c->maildir, &maildir);
}

static void check_programs(struct checking *k, const struct config *c) {
        k->option = "command";
        if (c->command)
                check_program(k, c, c->command[0]);
        k->option = "filter";
        if (c->filter)
                check_program(k, c, c->filter[0]);
        k->option = "mailman-wrapper";
        if (c->mailman_wrapper)
                check_program(k, c, c->mailman_wrapper);
}

static void check_destinations(struct checking *k, const struct config *c, bool has_network) {
        k->option = "upstream-tls";
        for (size_t i = 0; i < c->upstream.n; i++)
                check_clear(k, c, c->upstream.items[i]);
        k->option = "upstream-tls-ca";
        if (c->upstream_tls_ca)
                check_authorities(k, c, c->upstream_tls_ca);
        k->option = "upstream-tls-verify";
        check_trust(k, c);
        k->option = "upstream-password";
        if (c->upstream_password)
                check_password(k, c, c->upstream_password);
        k->option = "upstream";
        for (size_t i = 0; has_network && i < c->upstream.n; i++)
                check_endpoint(k, c->upstream.items[i]);
        k->option = "mailman";
        if (has_network && c->mailman)
                check_endpoint(k, c->mailman);
}

void risks_warn(const struct config *c, bool has_network, config_complaint *warn_of) {
        struct checking k = { .warn = warn_of };

        k.option = "config";
        if (c->file) {
                check_file(&k, c->file);
                if (*c->user && (config_is_listening(c) || geteuid() != 0))
                        check_access(&k, c, c->file, R_OK,
                                     "so it could not be read again at SIGHUP");
        }
        k.option = "user";
        if (*c->user && c->action != ACTION_SERVE && user_is_root(c->user))
                warn(&k, "sessions run as root, who may do anything here: name a user without "
                         "privileges, or leave it out");
        k.option = "sandbox";
        if (c->sandbox && sandbox_missing())
                warn(&k, "sessions are not confined: %s", sandbox_missing());
        k.option = "max-size";
        if (spool_check_files() < 0)
                warn(&k, "long messages are kept in memory: neither $TMPDIR nor /var/tmp nor /tmp "
                         "supports O_TMPFILE");
        k.option = "relay-from";
        for (size_t i = 0; i < c->relay_from.n; i++)
                check_network(&k, c->relay_from.items[i]);
        k.option = "proxy-from";
        for (size_t i = 0; i < c->proxy_from.n; i++)
                check_balancer(&k, c->proxy_from.items[i]);
        k.option = "proxy-tls";
        for (size_t i = 0; c->proxy_tls && i < c->proxy_from.n; i++)
                check_proxy_tls(&k, c->proxy_from.items[i]);
        k.option = "relay-to";
        for (size_t i = 0; i < c->relay_to.n; i++)
                check_domain(&k, c->relay_to.items[i]);
        check_programs(&k, c);
        check_directories(&k, c);
        k.option = "metrics-file";
        if (c->metrics_file && c->action != ACTION_SERVE)
                check_metrics(&k, c);
        k.option = "tls-engine";
        if (c->tls_engine)
                check_socket(&k, c, c->tls_engine);
        k.option = "auth";
        if (c->auth == AUTH_UPSTREAM && c->tls == TLS_NO)
                warn(&k, "without TLS, only clients on this host are offered AUTH: set "
                         "tls-certificate or tls-engine");
        check_destinations(&k, c, has_network);
}
