/* SPDX-License-Identifier: MIT */
/* main.c - smtpd: one SMTP or LMTP session on standard input and output. See smtpd(8).
 *
 * Finds out what it was given (descriptors, options, peer), runs the session, and says how it went
 * by its exit status.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "accept/acceptor.h"
#include "base/ascii.h"
#include "base/text.h"
#include "certificates.h"
#include "config/config.h"
#include "deliver/delivery.h"
#include "io/channel.h"
#include "io/fd.h"
#include "io/inherited.h"
#include "io/listen.h"
#include "io/log.h"
#include "io/notify.h"
#include "io/output.h"
#include "io/peer.h"
#include "risks.h"
#include "session.h"
#include "session_log.h"
#include "upstreams.h"
#include "user.h"
#include "version.h"

/* --- descriptors ------------------------------------------------------------------------------ */

/* What the descriptors 0 to 2 are. A missing one is replaced by /dev/null, so that nothing else
 * gets its number. */
struct descriptors {
        struct stat in, out, err;
        bool has_in, has_out, has_err;
};

static bool look_at(int fd, struct stat *ret) {
        int null;

        if (fstat(fd, ret) == 0)
                return true;
        null = open("/dev/null", O_RDWR);
        if (null != fd)
                /* not the lowest free: there is no /dev/null, and nothing works here */
                _exit(EX_TEMPFAIL);
        return false;
}

static bool is_same_file(const struct stat *a, const struct stat *b) {
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* A connected socket passed by systemd's protocol (sd_listen_fds(3)) takes the place of a stdin
 * that is none. */
static void take_passed_socket(void) {
        struct stat in;
        struct peer p;

        if (inherited_count() != 1)
                return;
        if ((fstat(STDIN_FILENO, &in) == 0 && S_ISSOCK(in.st_mode)) ||
            !peer_of_socket(LISTEN_PASSED, &p))
                return;
        dup2(LISTEN_PASSED, STDIN_FILENO);
        dup2(LISTEN_PASSED, STDOUT_FILENO);
        close(LISTEN_PASSED);
}

static struct descriptors look_at_descriptors(void) {
        struct descriptors d;

        take_passed_socket();
        d.has_in = look_at(STDIN_FILENO, &d.in);
        d.has_out = look_at(STDOUT_FILENO, &d.out);
        d.has_err = look_at(STDERR_FILENO, &d.err);
        return d;
}

static bool is_stderr_journal(const struct descriptors *d) {
        return d->has_err && fd_is_journal(&d->err);
}

/* Whether the service manager executed this very process, and nobody in between who left its
 * variables (systemd.exec(5)). */
static bool is_started_by_manager(void) {
        const char *pid = getenv("SYSTEMD_EXEC_PID");
        uint64_t number;

        return pid && *ascii_read_number(pid, &number) == '\0' && number == (uint64_t) getpid();
}

/* Under inetd all three are the client's connection, and nothing but SMTP may reach it. A pipe is a
 * connection if whoever made it names a peer. */
static bool is_stderr_client(const struct descriptors *d) {
        struct peer p;

        if (!is_same_file(&d->err, &d->out) && !is_same_file(&d->err, &d->in))
                return false;
        return S_ISSOCK(d->err.st_mode) || (S_ISFIFO(d->err.st_mode) && peer_of_environment(&p));
}

static void open_log(const struct descriptors *d) {
        if (is_stderr_journal(d)) /* as standard output may be too: it is no client then */
                log_open(LOG_TO_JOURNAL);
        else
                log_open(!d->has_err || is_stderr_client(d) ? LOG_TO_SYSLOG : LOG_TO_STDERR);
        if (S_ISFIFO(d->err.st_mode) && log_current_target() == LOG_TO_STDERR)
                fd_make_own(STDERR_FILENO);
}

static void open_output(void) {
        int passed = fd_passed(OUTPUT_VARIABLE);

        if (passed >= 0)
                output_set(passed, "standard output");
        else if (log_current_target() == LOG_TO_SYSLOG)
                output_set(-1, "standard error");
}

/* Told where to listen, we show messages on standard output, unless it is a socket of inetd's. */
static void show_on_stdout(const struct descriptors *d) {
        bool is_theirs = S_ISSOCK(d->out.st_mode) && is_same_file(&d->out, &d->in);
        bool is_usable = d->has_out && !is_theirs;
        int fd = is_usable ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;

        if (fd >= 0 && S_ISFIFO(d->out.st_mode))
                fd_make_own(fd);
        output_set(fd, "standard output");
}

/* Whoever passes on what a client says (a TLS wrapper, socat) is on this host, and may say in the
 * environment who that is. The port is the connection's own if the client is. */
static void pass_over(struct peer *p, const struct peer *named) {
        if (*named->port || strcmp(named->address, p->address) != 0)
                *p = *named;
}

/* false if stdin is a socket that is connected to nobody (any more), since its peer decides what it
 * may do; then `ret` is who it was, as far as we were told. */
static bool find_peer(const struct config *c, const struct descriptors *d, struct peer *ret) {
        struct peer named;
        bool is_named = peer_of_environment(&named);

        if (peer_of_socket(STDIN_FILENO, ret)) {
                if (is_named && peer_is_here(ret))
                        pass_over(ret, &named);
                return true;
        }
        if (is_named)
                *ret = named;
        else if (*c->peer.address)
                *ret = c->peer;
        else if (S_ISSOCK(d->in.st_mode))
                peer_unknown(ret);
        return !S_ISSOCK(d->in.st_mode);
}

/* A transcript is what a person types or has in a file: LF ends its lines. */
static bool is_transcript(const struct descriptors *d, const struct peer *p) {
        struct peer named;

        if (peer_is_unknown(p))
                return false;
        return S_ISREG(d->in.st_mode) || (S_ISCHR(d->in.st_mode) && isatty(STDIN_FILENO)) ||
               (S_ISFIFO(d->in.st_mode) && !peer_of_environment(&named));
}

/* --- signals ---------------------------------------------------------------------------------- */

/* Signals that ask us to end become input on a descriptor; those that would kill us for a closed
 * pipe or a file size limit become errors of write(2). A terminal's Ctrl-C is for the acceptor too,
 * which says what sessions have to do: until then they end what is under way. */
static void take_signals(struct patience *p) {
        sigset_t stop, soon;

        signal(SIGPIPE, SIG_IGN);
        signal(SIGXFSZ, SIG_IGN);
        sigemptyset(&stop);
        sigemptyset(&soon);
        sigaddset(&stop, SIGTERM);
        sigaddset(&stop, SIGHUP);
        sigaddset(&soon, STOP_SOON);
        sigaddset(notify_has_acceptor() ? &soon : &stop, SIGINT);
        sigprocmask(SIG_BLOCK, &stop, NULL);
        sigprocmask(SIG_BLOCK, &soon, NULL);
        patience_init(p, signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK),
                      signalfd(-1, &soon, SFD_CLOEXEC | SFD_NONBLOCK));
}

/* --- the program ------------------------------------------------------------------------------ */

static void complain(const char *where, const char *what) {
        log_say(LOG_ERR, "%s: %s", where, what);
}

static int help(const struct config *c) {
        puts(PROGRAM
             " speaks one SMTP session on standard input and output, and hands each message "
             "to a strategy.\n\nusage: " PROGRAM
             " [--name=value ...]\n\nOptions can also be written "
             "--name value, or as lines name=value in the configuration file.\nThe command line "
             "takes precedence over the file.\n");
        config_help(c, stdout);
        puts("\nTry it: " PROGRAM " <session.txt. The manual is " PROGRAM "(8).");
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EX_IOERR;
}

static unsigned n_warnings;

static void warn(const char *option, const char *what) {
        log_say(LOG_WARNING, "warning: %s: %s", option, what);
        n_warnings++;
}

static int check(const struct config *c, int mistakes) {
        int status;

        if (mistakes)
                return mistakes;
        if (delivery_check(c->strategy) < 0)
                return EX_CONFIG;
        if ((status = user_check("user", c->user)) != 0 ||
            (status = user_check("tls-user", c->tls_user)) != 0)
                return status;
        if ((status = certificates_check(c, complain, warn)) != 0)
                return status;
        risks_warn(c, c->action == ACTION_CHECK_NETWORK, warn);
        if (c->action == ACTION_CHECK_NETWORK)
                upstreams_look(c, warn);
        printf("# configuration file: %s\n", c->file ? c->file : "none");
        config_print(c, stdout);
        if (n_warnings > 0)
                printf("# ok, with %u warning%s\n", n_warnings, text_plural(n_warnings));
        else
                puts("# ok");
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EX_IOERR;
}

/* Tells a client that there will be no session. The reason is in the log: a person at a terminal
 * has seen it already; a client that begins with TLS would not understand. */
static int refuse(const struct config *c, struct channel *channel, int status) {
        static const char misconfigured[] =
                "421 4.3.5 this server is not configured correctly, try again later\r\n";
        static const char unable[] =
                "421 4.3.0 this server cannot serve you now, try again later\r\n";
        const char *reply = status == EX_TEMPFAIL ? unable : misconfigured;

        channel->timeout = 10;
        if (c->tls != TLS_IMPLICIT && !isatty(channel->in) && !isatty(channel->out)) {
                channel_write(channel, reply, strlen(reply));
                channel_hang_up(channel);
        }
        return status;
}

/* A stranger's session is no matter of root's; a transcript's user has written it. */
static int become_user(const struct config *c, bool is_transcript) {
        return is_transcript && !*c->user ? 0 : user_give_up_root(c->user);
}

static int serve(const struct config *c, const struct descriptors *d, struct channel *channel) {
        static const int room_for_replies = 64 * 1024;
        struct peer peer;
        int status, r;

        if (!find_peer(c, d, &peer)) {
                session_log_gone(&peer, config_is_balancer(c, &peer) ? LOG_DEBUG : LOG_INFO);
                return EXIT_SUCCESS;
        }
        if ((status = become_user(c, is_transcript(d, &peer))) != 0)
                return refuse(c, channel, status);
        /* replies are short, and a client that reads none has no claim to more memory */
        if (S_ISSOCK(d->out.st_mode))
                setsockopt(STDOUT_FILENO, SOL_SOCKET, SO_SNDBUF, &room_for_replies,
                           sizeof(room_for_replies));
        r = session_run(c, &peer, channel, is_transcript(d, &peer));
        if (r == 0)
                return EXIT_SUCCESS;
        if (r != -EINVAL) /* of that it has said why */
                log_say(LOG_ERR, "cannot start the session: %s", strerror(-r));
        return refuse(c, channel, r == -EINVAL ? EX_CONFIG : EX_TEMPFAIL);
}

/* What the configuration is read from, again and again. */
struct given {
        int argc;
        char **argv;
        bool is_for_journal;
};

static int load(const struct given *g, struct config *ret) {
        ret->strategies = delivery_strategies;
        ret->strategy = delivery_default(g->is_for_journal);
        return config_load(g->argc, g->argv, ret, complain);
}

static bool load_again(void *context, struct config *ret) {
        ret->is_reload = true;
        return load(context, ret) == 0;
}

/* A client that is there already is served, whatever the configuration says of listening. */
static bool is_connection(const struct descriptors *d) {
        struct peer p;

        return S_ISSOCK(d->in.st_mode) && peer_of_socket(STDIN_FILENO, &p) && *p.port;
}

/* Small ones first: a session touches few pages of them. */
static struct {
        struct config config;
        struct patience patience;
        struct channel channel;
        struct listeners listeners;
} the;

int main(int argc, char **argv) {
        struct descriptors d;
        struct given given = { argc, argv, false };
        bool is_given_listeners = false;
        int mistakes;

        inherited_close(argv);
        if (getenv(INHERITED_PASSWORD)) /* others of our user must not fetch it from us */
                prctl(PR_SET_DUMPABLE, 0);
        d = look_at_descriptors();
        open_log(&d);
        open_output();
        notify_open();
        given.is_for_journal = is_stderr_journal(&d) || is_started_by_manager();
        take_signals(&the.patience);
        channel_init(&the.channel, STDIN_FILENO, STDOUT_FILENO, &the.patience);
        mistakes = load(&given, &the.config);
        if (the.config.action == ACTION_HELP || the.config.action == ACTION_VERSION) {
                int status = the.config.action == ACTION_HELP ? help(&the.config) : version_print();

                return mistakes == EX_USAGE ? mistakes : status;
        }
        if (the.config.action == ACTION_CHECK || the.config.action == ACTION_CHECK_NETWORK)
                return check(&the.config, mistakes);
        if (S_ISSOCK(d.in.st_mode) || getenv("LISTEN_FDS"))
                is_given_listeners = listeners_take_passed(&the.listeners);
        if (is_given_listeners || (config_is_listening(&the.config) && !is_connection(&d))) {
                if (config_is_listening(&the.config))
                        show_on_stdout(&d);
                log_be_quick();
                return acceptor_run(&(struct acceptor_start) { .config = &the.config,
                                                               .mistakes = mistakes,
                                                               .listeners = &the.listeners,
                                                               .load = load_again,
                                                               .context = &given });
        }
        if (!d.has_in || !d.has_out) {
                log_say(LOG_ERR, "standard %s is closed: there is no session to serve",
                        d.has_in ? "output" : "input");
                return EX_TEMPFAIL;
        }
        if (!mistakes)
                mistakes = config_check_single(&the.config, complain);
        return mistakes ? refuse(&the.config, &the.channel, mistakes)
                        : serve(&the.config, &d, &the.channel);
}
