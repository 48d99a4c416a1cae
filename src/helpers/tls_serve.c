/* SPDX-License-Identifier: MIT */
/* helpers/tls_serve.c - a server: it holds the key, and forks for each connection.
 *
 * It reads no octet of a peer: its children do. They all have one layout of memory, so that a child
 * that was made to crash could tell the next one's attacker something: then we end, and are started
 * anew with another.
 */
#include "helpers/tls_serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "helpers/tls_children.h"
#include "helpers/tls_confine.h"
#include "helpers/tls_connection.h"
#include "helpers/tls_context.h"
#include "helpers/tls_receive.h"
#include "helpers/tls_rehearsal.h"
#include "helpers/tls_tickets.h"
#include "helpers/tls_watch.h"
#include "io/deadline.h"
#include "io/log.h"
#include "io/notify.h"
#include "user.h"

enum {
        REQUESTS = 0, /* the descriptor */
        READY = 3,
        ASKERS_MAX = 1000, /* connected at once; others wait until one leaves */
        BATCH = 16,        /* requests of one socket before other things are looked at */
        OWN_DESCRIPTORS = 24,
        SECOND = 1000,
        PAUSE = 50,
};

/* Why we end. */
enum end { GOING_ON, NOBODY_ASKS, TOLD_TO, NEW_CERTIFICATE, CHILD_CRASHED };

struct server {
        SSL_CTX *context;
        const struct tls_options *options;
        struct pollfd fds[1 + ASKERS_MAX]; /* REQUESTS, or -1, and those who are connected to it */
        uint64_t names[1 + ASKERS_MAX];    /* of those: no two were ever the same */
        uint64_t last_name;
        size_t n_askers, askers_max;
        int64_t begun, silent_until; /* one line of dropped requests a second */
        /* a socket to whoever starts our successor before we end; -1: there is nobody */
        int keeper;
        bool has_lost_keeper;
        bool is_other_user; /* than we were started as */
        bool is_listening;
};

static volatile sig_atomic_t is_told_to_end;

static void on_end(int number) {
        (void) number;
        is_told_to_end = 1;
}

static void on_child(int number) {
        (void) number; /* it ends the wait */
}

/* --- children --------------------------------------------------------------------------------- */

_Noreturn static void be_child(const struct server *s, const struct tls_connection *c,
                               const sigset_t *unblocked) {
        for (size_t i = 0; i <= s->n_askers; i++)
                if (s->fds[i].fd >= 0)
                        close(s->fds[i].fd);
        if (s->keeper >= 0)
                close(s->keeper);
        sigprocmask(SIG_SETMASK, unblocked, NULL);
        tls_connection_run(s->context, c);
        _exit(EX_OK);
}

static void log_dropped(struct server *s, const char *why) {
        if (deadline_left(s->silent_until) > 0)
                return;
        s->silent_until = deadline_now() + SECOND;
        log_say(LOG_ERR, "TLS: a request was dropped: %s", why);
}

static void start_child(struct server *s, const struct tls_connection *c,
                        const sigset_t *unblocked) {
        const char *refusal = tls_children_refusal(c->asker);
        pid_t pid = -1;

        if (refusal)
                log_dropped(s, refusal);
        else if ((pid = fork()) == 0)
                be_child(s, c, unblocked);
        else if (pid < 0)
                log_dropped(s, strerror(errno));
        if (pid > 0)
                tls_children_add(pid, c->asker);
        tls_receive_close(c);
}

/* They end well, or by our alarm if a handshake hangs. */
static bool has_crashed(int status) {
        return WIFSIGNALED(status) ? WTERMSIG(status) != SIGALRM : WEXITSTATUS(status) != EX_OK;
}

static enum end reap(void) {
        enum end end = GOING_ON;
        int status;
        pid_t pid;

        while (tls_children_are_there() && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
                tls_children_remove(pid);
                if (has_crashed(status)) {
                        log_say(LOG_ERR,
                                "TLS: the process of a connection %s %d: restarting, with another "
                                "memory layout",
                                WIFSIGNALED(status) ? "was killed by signal" : "exited with status",
                                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
                        end = CHILD_CRASHED;
                }
        }
        return end;
}

/* --- requests --------------------------------------------------------------------------------- */

/* Whether there is a keeper, which hears of it. What it starts may find that the files do not
 * belong together: then we go on, until they change again. */
static bool tell_keeper(struct server *s) {
        if (s->keeper < 0)
                return false;
        if (send(s->keeper, "new\n", 4, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno == EAGAIN)
                return true;
        close(s->keeper);
        s->keeper = -1;
        s->has_lost_keeper = true;
        return false;
}

/* Of a keeper that was killed there is a successor, with an engine of its own: we would show an old
 * certificate beside it. Root's has none if sessions have another user. */
static enum end look_at_files(struct server *s) {
        enum tls_watch files = tls_watch_look();

        if (files != TLS_WATCH_SAME && tell_keeper(s))
                return GOING_ON;
        switch (files) {
        case TLS_WATCH_SAME: break;
        case TLS_WATCH_NEW:
                if (s->has_lost_keeper && s->is_other_user) {
                        log_say(LOG_WARNING, "TLS: new certificate or key, but nobody is there to "
                                             "restart us: restart what has started us");
                        break;
                }
                log_say(LOG_INFO, "TLS: new certificate or key: restarting");
                return NEW_CERTIFICATE;
        case TLS_WATCH_LOCKED:
                log_say(LOG_WARNING, "TLS: new certificate or key, but this user may not read it: "
                                     "restart what has started us");
                break;
        }
        return GOING_ON;
}

/* Requests of fds[asker] that are there, up to some. False: there will be none. */
static bool serve_asker(struct server *s, size_t asker, const sigset_t *unblocked, enum end *end) {
        for (int i = 0; i < BATCH && *end == GOING_ON; i++) {
                struct tls_connection c = { .timeout = s->options->timeout };

                switch (tls_receive(s->fds[asker].fd, s->options->is_connecting, &c)) {
                case TLS_REQUEST_LATER: return true;
                case TLS_REQUEST_NEVER: return false;
                case TLS_REQUEST_WRONG: log_dropped(s, "not a request as in smtpd-tls(8)"); break;
                case TLS_REQUEST:
                        if (s->is_listening) /* a session has one of these connections */
                                c.asker = s->names[asker];
                        if (!s->options->is_connecting)
                                tls_tickets_renew();
                        start_child(s, &c, unblocked);
                        *end = look_at_files(s);
                        break;
                }
        }
        return true;
}

static void accept_asker(struct server *s) {
        int fd = accept4(REQUESTS, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0) {
                s->fds[++s->n_askers] = (struct pollfd) { fd, POLLIN, 0 };
                s->names[s->n_askers] = ++s->last_name;
        } else if (errno != EAGAIN && errno != EINTR)
                /* the system has no descriptor, or no memory: it would fail at once again */
                poll(NULL, 0, PAUSE);
}

static void remove_asker(struct server *s, size_t i) {
        close(s->fds[i].fd);
        s->names[i] = s->names[s->n_askers];
        s->fds[i] = s->fds[s->n_askers--];
}

static enum end serve_all(struct server *s, const sigset_t *unblocked) {
        enum end end = GOING_ON;

        for (size_t i = s->n_askers; i > 0 && end == GOING_ON; i--)
                if (s->fds[i].revents && !serve_asker(s, i, unblocked, &end))
                        remove_asker(s, i);
        if (end != GOING_ON || !s->fds[0].revents)
                return end;
        if (s->is_listening)
                accept_asker(s);
        else if (!serve_asker(s, 0, unblocked, &end))
                return NOBODY_ASKS;
        return end;
}

static bool is_asked(const struct server *s) {
        return s->fds[0].fd >= 0 || s->n_askers > 0;
}

/* ppoll(2) takes none as long as there is something to read. */
static void take_signals(const sigset_t *unblocked) {
        sigset_t ours;

        sigprocmask(SIG_SETMASK, unblocked, &ours);
        sigprocmask(SIG_SETMASK, &ours, NULL);
}

static enum end run(struct server *s, const sigset_t *unblocked) {
        enum end end = GOING_ON;

        while (end == GOING_ON && is_asked(s)) {
                s->fds[0].events = s->n_askers < s->askers_max ? POLLIN : 0;
                if (ppoll(s->fds, 1 + s->n_askers, NULL, unblocked) > 0)
                        end = serve_all(s, unblocked);
                take_signals(unblocked);
                if (end == GOING_ON || end == NEW_CERTIFICATE) {
                        enum end crash = reap();

                        end = crash != GOING_ON ? crash : is_told_to_end ? TOLD_TO : end;
                }
        }
        return end == GOING_ON ? NOBODY_ASKS : end;
}

/* Those who are connected already would be told that there is no TLS, with a client waiting: a copy
 * of us serves them to their end, and the socket is our successor's. */
static void leave_rest_to_child(struct server *s, const sigset_t *unblocked) {
        if (s->n_askers == 0 || fork() != 0)
                return;
        close(REQUESTS);
        s->fds[0].fd = -1;
        tls_children_forget();
        is_told_to_end = 0;
        while (run(s, unblocked) == NEW_CERTIFICATE)
                ;
        _exit(EX_OK);
}

/* --- beginning and end ------------------------------------------------------------------------ */

static void watch_signals(sigset_t *ret_unblocked) {
        sigset_t ours;

        sigemptyset(&ours);
        sigaddset(&ours, SIGTERM);
        sigaddset(&ours, SIGCHLD);
        sigprocmask(SIG_BLOCK, &ours, ret_unblocked);
        sigdelset(ret_unblocked, SIGTERM);
        sigdelset(ret_unblocked, SIGCHLD);
        signal(SIGTERM, on_end);
        signal(SIGCHLD, on_child);
        signal(SIGINT, SIG_IGN); /* of a terminal: whoever has started us knows when to end */
        signal(SIGHUP, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
}

/* Not more than there can be descriptors. */
static size_t find_askers_max(void) {
        struct rlimit r;

        if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur <= OWN_DESCRIPTORS)
                return 1;
        return r.rlim_cur - OWN_DESCRIPTORS < ASKERS_MAX ? r.rlim_cur - OWN_DESCRIPTORS
                                                         : ASKERS_MAX;
}

/* Of the socket: 1, 0, or -1 if it is another thing. */
static int find_listening(void) {
        int type = 0, is_listening = 0;
        socklen_t n = sizeof(int);

        if (getsockopt(REQUESTS, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_SEQPACKET ||
            getsockopt(REQUESTS, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &n) < 0)
                return -1;
        return is_listening;
}

/* Of a connected socket the other end is a keeper; systemd's is none. */
static bool is_keeper(int fd) {
        int type = 0, is_listening = 1;
        socklen_t n = sizeof(int);

        return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM &&
               getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &n) == 0 && !is_listening;
}

/* All sessions of an acceptor ask on one socket: the kernel says which process it was. */
static void be_told_who_asks(void) {
        const int yes = 1;

        if (setsockopt(REQUESTS, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) < 0)
                log_say(LOG_WARNING, "TLS: cannot find out which process sent the request: %s",
                        strerror(errno));
}

static void tell_ready(struct server *s) {
        ssize_t n = write(READY, "ready\n", 6);

        (void) n; /* it is nobody's, or a socket of systemd's */
        if (is_keeper(READY))
                s->keeper = READY;
        else
                close(READY);
        notify_open();
        notify_state("READY=1");
        notify_close();
}

/* Nothing is read of a peer before all is given up that is not needed. */
static int prepare(struct server *s) {
        const struct tls_options *o = s->options;
        const uid_t first = geteuid();
        int r;

        tls_watch_begin(o);
        tls_context_start();
        s->context = tls_context_new(o);
        if (!s->context)
                return EX_CONFIG;
        if (!o->is_connecting)
                tls_tickets_offer(s->context);
        tls_rehearse(s->context, !o->is_connecting);
        if (o->user && (r = user_become(o->user)) < 0) {
                log_say(LOG_ERR, "TLS: cannot switch to user %s: %s", o->user,
                        r == -ENOENT ? "no such user" : strerror(-r));
                return r == -ENOENT ? EX_CONFIG : EX_TEMPFAIL;
        }
        s->is_other_user = geteuid() != first;
        tell_ready(s);
        tls_confine_server(o->is_connecting);
        return EX_OK;
}

int tls_serve(const struct tls_options *o) {
        static struct server s;
        int is_listening = find_listening(), status;
        sigset_t unblocked;
        enum end end;

        if (is_listening < 0) {
                log_say(LOG_ERR, "smtpd-tls: descriptor 0 must be a socket of type SOCK_SEQPACKET: "
                                 "see smtpd-tls(8)");
                return EX_USAGE;
        }
        s.options = o;
        s.keeper = -1;
        s.is_listening = is_listening;
        s.askers_max = find_askers_max();
        s.begun = deadline_now();
        s.fds[0].fd = REQUESTS;
        if (!is_listening)
                be_told_who_asks();
        watch_signals(&unblocked);
        if ((status = prepare(&s)) != EX_OK)
                return status;
        end = run(&s, &unblocked);
        if (s.is_listening && (end == NEW_CERTIFICATE || end == TOLD_TO))
                leave_rest_to_child(&s, &unblocked);
        if (end == CHILD_CRASHED && deadline_left(s.begun + SECOND) > 0) /* a guess a second */
                poll(NULL, 0, deadline_left(s.begun + SECOND));
        SSL_CTX_free(s.context);
        return end == CHILD_CRASHED ? EX_TEMPFAIL : EX_OK;
}
