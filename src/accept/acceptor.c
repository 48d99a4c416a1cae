/* SPDX-License-Identifier: MIT */
/* accept/acceptor.c - accepts connections, within limits, and starts a process for each. */
#include "accept/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "accept/count.h"
#include "accept/equipment.h"
#include "accept/figures.h"
#include "accept/metrics.h"
#include "accept/refusal.h"
#include "accept/sessions.h"
#include "accept/spawn.h"
#include "accept/status.h"
#include "base/text.h"
#include "io/deadline.h"
#include "io/log.h"
#include "io/notify.h"
#include "io/patience.h"
#include "sandbox.h"
#include "user.h"

enum {
        OTHERS = 4,           /* descriptors that we wait for beside listeners */
        BATCH = 16,           /* connections accepted before other things are looked at */
        SHORTAGE_PAUSE = 100, /* milliseconds to wait if accept(2) itself is out of memory */
};

struct acceptor {
        struct reload reload;
        struct listeners *listeners;
        struct sessions sessions;
        struct spawn spawn;
        struct equipment equipment;
        struct figures figures;
        struct status status;
        struct metrics metrics;
        struct refusals refusals;
        enum { ACCEPTING, STOPPING, OVER } state;
        int signal_fd;
        int reserve;      /* a descriptor to give up when they run out */
        int64_t resume;   /* when to accept again after a shortage; 0: now */
        int64_t deadline; /* ACCEPTING and idle: to end; STOPPING: to tell sessions to end */
};

static const struct config *config_of(const struct acceptor *a) {
        return a->reload.config;
}

static void set_idle_deadline(struct acceptor *a) {
        uint64_t seconds = config_of(a)->exit_idle_time;

        if (a->state == ACCEPTING)
                a->deadline =
                        a->sessions.n == 0 && seconds > 0 ? deadline_after(seconds) : INT64_MAX;
}

static void reap(struct acceptor *a) {
        sessions_reap(&a->sessions);
        set_idle_deadline(a);
}

/* --- a connection ----------------------------------------------------------------------------- */

static void refuse(struct acceptor *a, const struct listener *l, int fd,
                   const struct refusal *why) {
        refusal_say(&a->refusals, l, fd, why, a->sessions.n);
}

static void refuse_for_shortage(struct acceptor *a, const struct listener *l, int fd, int error) {
        const struct refusal why = {
                "421 4.3.2 this server is short of resources, try again later\r\n", strerror(error),
                FIGURE_SHORTAGE
        };

        refuse(a, l, fd, &why);
}

/* The limit that another session for this source would break, or NULL. */
static const struct refusal *find_limit(const struct acceptor *a, const struct source *source) {
        static const struct refusal
                all = { "421 4.7.0 too many connections, try again later\r\n", "max-connections",
                        FIGURE_FULL },
                of_source = { "421 4.7.0 too many connections from you, try again later\r\n",
                              "max-connections-per-source", FIGURE_SOURCE_FULL };

        if (a->sessions.n >= config_of(a)->max_connections)
                return &all;
        if (!source->is_balancer &&
            sessions_of(&a->sessions, source) >= config_of(a)->max_connections_per_source)
                return &of_source;
        return NULL;
}

/* Clients that only wait would keep all others out. From two thirds of what there may be on, new
 * ones have to be quick. */
static bool is_loaded(const struct acceptor *a) {
        return 3 * a->sessions.n >= 2 * config_of(a)->max_connections;
}

static void start_session(struct acceptor *a, const struct listener *l, int fd,
                          const struct peer *peer, const struct source *source) {
        struct spawn_client client = {
                .connection = fd, .peer = *peer, .is_tls = l->is_tls, .is_in_hurry = is_loaded(a)
        };
        pid_t pid = spawn_session(&a->spawn, &client);

        if (pid < 0) {
                refuse_for_shortage(a, l, fd, -pid);
                return;
        }
        close(fd);
        sessions_add(&a->sessions, pid, source);
        set_idle_deadline(a);
}

static void admit(struct acceptor *a, const struct listener *l, int fd,
                  const union source_address *address) {
        struct source source = source_of(fd, address);
        const struct refusal *limit;
        struct peer peer;

        peer_of_address(&address->any, &peer);
        source.is_balancer = config_is_balancer(config_of(a), &peer);
        limit = find_limit(a, &source);
        if (limit) { /* some may be over, and not yet known to be */
                reap(a);
                limit = find_limit(a, &source);
        }
        if (limit)
                refuse(a, l, fd, limit);
        else
                start_session(a, l, fd, &peer, &source);
}

/* Without a descriptor left, a connection gets that in reserve. Returns 0 or accept(2)'s errno. */
static int refuse_without_descriptor(struct acceptor *a, const struct listener *l, int error) {
        int fd, r;

        close(a->reserve);
        fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
        r = fd < 0 ? errno : 0;
        if (fd >= 0)
                refuse_for_shortage(a, l, fd, error);
        a->reserve = open("/dev/null", O_RDWR | O_CLOEXEC);
        return r;
}

/* What to do about an error of accept(2). false: nothing more can be accepted now. */
static bool go_on_after(struct acceptor *a, struct listener *l, int error) {
        if (error == EMFILE || error == ENFILE)
                error = refuse_without_descriptor(a, l, error);
        if (error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS)
                a->resume = deadline_now() + SHORTAGE_PAUSE;
        if (error == EINVAL || error == EBADF || error == ENOTSOCK || error == EOPNOTSUPP) {
                log_say(LOG_ERR, "cannot accept on %s: %s", l->address, strerror(error));
                listen_close(l);
                return false;
        }
        return error != EAGAIN && !a->resume; /* others are about one connection, which is gone */
}

/* Takes what waits there, up to some. */
static void accept_some(struct acceptor *a, struct listener *l) {
        for (int i = 0; i < BATCH; i++) {
                union source_address address = { 0 };
                socklen_t n = sizeof(address);
                int fd = accept4(l->fd, &address.any, &n, SOCK_CLOEXEC);

                if (fd >= 0)
                        admit(a, l, fd, &address);
                else if (!go_on_after(a, l, errno))
                        return;
        }
}

/* --- the end ---------------------------------------------------------------------------------- */

/* A connection that waits at a socket which is closed is reset. */
static void leave(struct acceptor *a) {
        static const struct refusal why = {
                "421 4.3.2 service is shutting down, try again later\r\n", "stopping",
                FIGURE_STOPPING
        };

        refusal_to_queue(&a->refusals, a->listeners, &why, a->sessions.n);
        listeners_close(a->listeners);
}

/* The first time sessions may end the transactions that they are in; after a while, and the second
 * time, they end. */
static void stop(struct acceptor *a) {
        uint64_t seconds = config_of(a)->stop_timeout;

        if (a->state == STOPPING) {
                sessions_signal(&a->sessions, SIGTERM);
                return;
        }
        notify_state("STOPPING=1");
        leave(a);
        a->state = STOPPING;
        a->deadline = deadline_after(seconds);
        sessions_signal(&a->sessions, STOP_SOON);
        if (a->sessions.n > 0)
                log_say(LOG_NOTICE, "stopping: %zu session%s %llu second%s to end", a->sessions.n,
                        a->sessions.n == 1 ? " has" : "s have", (unsigned long long) seconds,
                        text_plural(seconds));
}

static void on_deadline(struct acceptor *a) {
        uint64_t seconds = config_of(a)->exit_idle_time;

        if (a->state == STOPPING)
                sessions_signal(&a->sessions, SIGTERM);
        else {
                log_say(LOG_NOTICE, "idle for %llu second%s: exiting", (unsigned long long) seconds,
                        text_plural(seconds));
                a->state = OVER;
        }
        a->deadline = INT64_MAX;
}

/* --- the loop --------------------------------------------------------------------------------- */

static void reload(struct acceptor *a) {
        if (reload_again(&a->reload))
                set_idle_deadline(a);
}

static void on_signals(struct acceptor *a) {
        struct signalfd_siginfo s;

        while (read(a->signal_fd, &s, sizeof(s)) == sizeof(s))
                if (s.ssi_signo == SIGCHLD)
                        reap(a);
                else if (s.ssi_signo != SIGHUP)
                        stop(a);
                else if (a->state == ACCEPTING)
                        reload(a);
}

static int64_t earlier(int64_t a, int64_t b) {
        return a < b ? a : b;
}

/* When something is to be done even if nothing happens. */
static int64_t next_time(const struct acceptor *a) {
        int64_t t = earlier(a->deadline, metrics_next(&a->metrics));

        t = earlier(t, status_next(&a->status, &a->figures, a->state == STOPPING));
        if (a->refusals.n > 0)
                t = earlier(t, a->refusals.next_line);
        return a->resume ? earlier(t, a->resume) : t;
}

static void wait_and_act(struct acceptor *a) {
        struct pollfd fds[LISTENERS_MAX + OTHERS] = {
                { .fd = a->signal_fd, .events = POLLIN },
                { .fd = a->figures.counter, .events = POLLIN },
                { .fd = a->equipment.for_clients.orders, .events = POLLIN },
                { .fd = a->equipment.for_upstreams.orders, .events = POLLIN },
        };
        bool is_accepting = a->state == ACCEPTING && !a->resume;
        struct listener *listeners = a->listeners->items;
        size_t n = a->listeners->n;

        for (size_t i = 0; i < n; i++)
                fds[i + OTHERS] =
                        (struct pollfd) { is_accepting ? listeners[i].fd : -1, POLLIN, 0 };
        if (poll(fds, n + OTHERS, deadline_left(next_time(a))) < 0) {
                poll(NULL, 0, SHORTAGE_PAUSE); /* out of memory, for now */
                return;
        }
        if (fds[1].revents)
                figures_read(&a->figures);
        if (fds[2].revents || fds[3].revents)
                equipment_keep(&a->equipment);
        if (fds[0].revents)
                on_signals(a);
        if (a->state == ACCEPTING && count_is_reached(config_of(a), &a->figures))
                stop(a);
        for (size_t i = 0; i < n && a->state == ACCEPTING; i++)
                if (fds[i + OTHERS].revents)
                        accept_some(a, listeners + i);
        if (a->resume && deadline_left(a->resume) == 0)
                a->resume = 0;
        if (deadline_left(a->deadline) == 0)
                on_deadline(a);
        refusal_log(&a->refusals, a->sessions.n);
        status_say(&a->status, &a->figures, a->state == STOPPING);
        metrics_keep(&a->metrics, config_of(a)->metrics_file, &a->figures);
}

static bool is_over(const struct acceptor *a) {
        return a->state == OVER || (a->state == STOPPING && a->sessions.n == 0);
}

/* --- the beginning ---------------------------------------------------------------------------- */

/* The signals come through a descriptor. */
static int take_signals(void) {
        sigset_t set;

        signal(SIGCHLD, SIG_DFL); /* ignored, it would take away how sessions ended */
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, NULL);
        return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Makes the reserve, and the pipe in which sessions count. */
static int prepare(struct acceptor *a) {
        int counter[2];

        a->reserve = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (a->reserve < 0 || pipe2(counter, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        a->figures.counter = counter[0];
        spawn_init(&a->spawn, counter[1]);
        equipment_pass_on(&a->equipment, &a->spawn);
        return 0;
}

static int start(struct acceptor *a) {
        int status, r;

        if ((status = listeners_open(a->listeners, config_of(a))) != 0 ||
            (status = equipment_start(&a->equipment, config_of(a), a->listeners)) != 0 ||
            (status = user_give_up_privileges(config_of(a)->user)) != 0)
                return status;
        if (!spawn_is_possible()) {
                log_say(LOG_ERR, "cannot accept connections: /proc is not mounted, but sessions "
                                 "are started through it: mount -t proc proc /proc");
                return EX_TEMPFAIL;
        }
        if ((r = prepare(a)) < 0) {
                log_say(LOG_ERR, "cannot accept connections: %s", strerror(-r));
                return EX_TEMPFAIL;
        }
        if ((status = reload_first(&a->reload)) != 0)
                return status;
        set_idle_deadline(a);
        metrics_keep(&a->metrics, config_of(a)->metrics_file, &a->figures);
        listeners_say(a->listeners, config_of(a));
        if (config_of(a)->sandbox && sandbox_missing())
                log_say(LOG_WARNING, "sessions are not confined: %s", sandbox_missing());
        notify_state("READY=1");
        return 0;
}

/* We cannot serve. Those who wait at passed sockets would have us started again at once, until
 * whoever holds the sockets gives the port up: they are told before we exit. */
static void turn_away(struct acceptor *a, size_t n_passed) {
        static const struct refusal why = {
                "421 4.3.5 this server is not configured correctly, try again later\r\n",
                "the configuration has errors", FIGURE_STOPPING
        };

        refusal_to_all(&a->refusals, a->listeners, n_passed, a->signal_fd, &why);
}

int acceptor_run(const struct acceptor_start *s) {
        static struct config spare;
        static struct acceptor a;
        size_t n_passed = s->listeners->n;
        int status;

        a = (struct acceptor) {
                .reload = { s->config, &spare, s->load, s->context, &a.sessions, &a.spawn,
                            &a.equipment, s->listeners },
                .listeners = s->listeners,
                .sessions.figures = &a.figures,
                .refusals.figures = &a.figures,
                .signal_fd = take_signals(),
        };
        equipment_init(&a.equipment);
        status = s->mistakes ? s->mistakes : start(&a);
        if (status)
                turn_away(&a, n_passed);
        while (status == 0 && !is_over(&a))
                wait_and_act(&a);
        leave(&a);
        equipment_stop(&a.equipment);
        if (status)
                return status;
        figures_read(&a.figures);
        metrics_end(&a.metrics, &a.figures);
        return count_exit_status(config_of(&a), &a.figures);
}
