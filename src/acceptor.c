/* acceptor.c - listening sockets: a fresh process for each connection, within limits. */
#include "acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/text.h"
#include "deliver/delivery.h"
#include "io/deadline.h"
#include "io/fd.h"
#include "io/log.h"
#include "io/notify.h"
#include "io/output.h"
#include "io/peer.h"
#include "risks.h"
#include "user.h"

enum {
        BATCH = 16,            /* connections accepted before other things are looked at */
        STATUS_PAUSE = 1000,   /* milliseconds between two words to the service manager */
        REFUSAL_PAUSE = 1000,  /* milliseconds between two log lines about refused clients */
        SHORTAGE_PAUSE = 100,  /* milliseconds to wait where accept(2) itself is out of memory */
        TURNING_AWAY = 1,      /* seconds, where we cannot serve */
};

/* --- who comes ------------------------------------------------------------------------------------------------ */

/* What counts as one source: an IPv4 address, an IPv6 network of 64 bits, a user of this host. */
struct source {
        unsigned char family, octets[8];
};

struct session {
        pid_t pid;
        struct source source;
};

union socket_address {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
};

static struct source source_of(int fd, const union socket_address *a) {
        struct source s = { .family = (unsigned char) a->any.sa_family };
        const unsigned char *octets = a->v6.sin6_addr.s6_addr;
        struct ucred cred;
        socklen_t n = sizeof(cred);

        if (s.family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr)) {
                s.family = AF_INET;
                memcpy(s.octets, octets + 12, 4);
        } else if (s.family == AF_INET6)
                memcpy(s.octets, octets, sizeof(s.octets));
        else if (s.family == AF_INET)
                memcpy(s.octets, &a->v4.sin_addr, 4);
        else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0)
                memcpy(s.octets, &cred.uid, sizeof(cred.uid));
        return s;
}

/* --- the acceptor --------------------------------------------------------------------------------------------- */

struct acceptor {
        struct config *config, *spare; /* the one in use, and room to read it again */
        bool (*load)(struct config *ret);
        struct listener *listeners;
        size_t n_listeners;
        int signal_fd, counter_in, counter_out;
        int output;                   /* passed on to sessions that show messages, or -1 */
        int reserve;                  /* a descriptor to give up when they run out */
        char program[PATH_MAX];       /* ours */
        char *text;                   /* the configuration, for sessions */
        size_t n_text;
        struct session *sessions;
        size_t n_sessions, room;      /* of max-connections */
        uint64_t n_messages;
        struct {                      /* since the last log line about it */
                unsigned n;
                const char *address, *why;
        } refused;
        int64_t next_refusal, next_status, resume; /* when we may speak of them again; accept again */
        int64_t deadline;             /* when idle: to end; when stopping: to tell sessions to end */
        bool is_status_new, is_stopping, is_over;
};

static size_t count_of(const struct acceptor *a, const struct source *s) {
        size_t n = 0;

        for (size_t i = 0; i < a->n_sessions; i++)
                n += memcmp(&a->sessions[i].source, s, sizeof(*s)) == 0;
        return n;
}

static bool is_full(const struct acceptor *a, const struct source *s) {
        return a->n_sessions >= a->config->max_connections || count_of(a, s) >= a->config->max_connections_per_source;
}

static void set_idle_deadline(struct acceptor *a) {
        if (!a->is_stopping)
                a->deadline = a->n_sessions == 0 && a->config->exit_idle_time > 0 ? deadline_after(a->config->exit_idle_time) : INT64_MAX;
}

/* --- what becomes of sessions ---------------------------------------------------------------------------------- */

static void forget_session(struct acceptor *a, pid_t pid, int wait_status) {
        for (size_t i = 0; i < a->n_sessions; i++)
                if (a->sessions[i].pid == pid) {
                        a->sessions[i] = a->sessions[--a->n_sessions];
                        if (WIFSIGNALED(wait_status))
                                log_say(LOG_ERR, "the session of process %d ended by signal %d (%s)", (int) pid, WTERMSIG(wait_status),
                                        strsignal(WTERMSIG(wait_status)));
                        return;
                }
}

static void reap(struct acceptor *a) {
        int wait_status;
        pid_t pid;

        while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
                forget_session(a, pid, wait_status);
        a->is_status_new = true;
        set_idle_deadline(a);
}

/* --- for whom there is no room -------------------------------------------------------------------------------- */

/* The first at once, the others together after a while. */
static void log_refusals(struct acceptor *a) {
        struct log_line line;

        if (a->refused.n == 0 || deadline_now() < a->next_refusal)
                return;
        log_start(&line, "refused");
        log_field(&line, "address", "%s", a->refused.address);
        log_field(&line, "reason", "%s", a->refused.why);
        log_number(&line, "sessions", a->n_sessions);
        log_number(&line, "clients", a->refused.n);
        log_send(&line, LOG_WARNING);
        a->refused.n = 0;
        a->next_refusal = deadline_now() + REFUSAL_PAUSE;
}

/* A client that has said something already loses our last words if that is left unread (a reset follows them). */
static void refuse(struct acceptor *a, const struct listener *l, int fd, const char *reply, const char *why) {
        char unread[4096];

        send(fd, reply, strlen(reply), MSG_DONTWAIT | MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR);
        for (int i = 0; i < BATCH && recv(fd, unread, sizeof(unread), MSG_DONTWAIT) > 0; i++)
                ;
        close(fd);
        a->refused.n++;
        a->refused.address = l->address;
        a->refused.why = why;
        log_refusals(a);
}

static void refuse_for_shortage(struct acceptor *a, const struct listener *l, int fd, int error) {
        refuse(a, l, fd, "421 4.3.2 this server is short of resources, try again later\r\n", strerror(error));
}

/* --- a session ------------------------------------------------------------------------------------------------ */

/* The configuration as a file of the session's own: a shared one would have one place to read from. Returns a descriptor or
 * a negative errno. */
static int config_file(const struct acceptor *a) {
        int fd = memfd_create("smtpd.conf", MFD_CLOEXEC), error;

        if (fd < 0 || pwrite(fd, a->text, a->n_text, 0) == (ssize_t) a->n_text)
                return fd < 0 ? -errno : fd;
        error = errno;
        close(fd);
        return -error;
}

/* What a session is started with. */
struct start {
        int connection, config;
        char option[32];    /* that names the configuration's descriptor */
        volatile int error; /* of the child, which shares our memory until it executes us */
};

/* In the child: descriptors are closed by execve(2) unless they are passed on. */
static bool pass_on(int fd) {
        return fcntl(fd, F_SETFD, 0) == 0;
}

/* In the child, between vfork(2) and execve(2): it makes system calls only. */
static void become_session(const struct acceptor *a, struct start *s) {
        static char name[] = "smtpd";
        char *const argv[] = { name, s->option, NULL };
        sigset_t set;

        sigemptyset(&set); /* those that it takes itself stay blocked until it does */
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_SETMASK, &set, NULL);
        if (dup2(s->connection, STDIN_FILENO) >= 0 && dup2(s->connection, STDOUT_FILENO) >= 0 &&
            pass_on(s->config) && pass_on(a->counter_out) && (a->output < 0 || pass_on(a->output))) {
                execve(a->program, argv, environ);
                if (errno == ENOENT || errno == EACCES) /* replaced meanwhile, or not to be reached by this user: this one is there */
                        execve("/proc/self/exe", argv, environ);
        }
        s->error = errno;
        _exit(EX_TEMPFAIL);
}

/* Returns its pid or a negative errno. */
static pid_t spawn_session(const struct acceptor *a, struct start *s) {
        pid_t pid = vfork();

        if (pid == 0)
                become_session(a, s);
        if (pid < 0)
                return -errno;
        if (s->error) /* it is gone */
                waitpid(pid, NULL, 0);
        return s->error ? -s->error : pid;
}

static pid_t start_session(const struct acceptor *a, int connection) {
        struct start s = { .connection = connection, .config = config_file(a) };
        pid_t pid;

        if (s.config < 0)
                return s.config;
        snprintf(s.option, sizeof(s.option), "--config=/dev/fd/%d", s.config);
        pid = spawn_session(a, &s);
        close(s.config);
        return pid;
}

static void admit(struct acceptor *a, const struct listener *l, int fd, const union socket_address *address) {
        struct source source = source_of(fd, address);
        pid_t pid;

        if (is_full(a, &source)) /* some may be over, and not yet known to be */
                reap(a);
        if (a->n_sessions >= a->config->max_connections) {
                refuse(a, l, fd, "421 4.7.0 too many connections, try again later\r\n", "max-connections");
                return;
        }
        if (count_of(a, &source) >= a->config->max_connections_per_source) {
                refuse(a, l, fd, "421 4.7.0 too many connections from you, try again later\r\n", "max-connections-per-source");
                return;
        }
        pid = start_session(a, fd);
        if (pid < 0) {
                refuse_for_shortage(a, l, fd, -pid);
                return;
        }
        close(fd);
        a->sessions[a->n_sessions++] = (struct session) { pid, source };
        a->is_status_new = true;
        set_idle_deadline(a);
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
                log_say(LOG_ERR, "nobody can come to %s any more: %s", l->address, strerror(error));
                listen_close(l);
                return false;
        }
        return error != EAGAIN && !a->resume; /* others are about one connection, which is gone */
}

/* Takes what waits there, up to some. */
static void accept_some(struct acceptor *a, struct listener *l) {
        for (int i = 0; i < BATCH; i++) {
                union socket_address address = { 0 };
                socklen_t n = sizeof(address);
                int fd = accept4(l->fd, &address.any, &n, SOCK_CLOEXEC);

                if (fd >= 0)
                        admit(a, l, fd, &address);
                else if (!go_on_after(a, l, errno))
                        return;
        }
}

/* --- what the service manager is told --------------------------------------------------------------------------- */

static void count_messages(struct acceptor *a) {
        char octets[4096];
        ssize_t n;

        while ((n = read(a->counter_in, octets, sizeof(octets))) > 0)
                a->n_messages += (uint64_t) n;
        a->is_status_new = true;
}

static const char *plural(uint64_t n) {
        return n == 1 ? "" : "s";
}

static void say_status(struct acceptor *a) {
        if (!a->is_status_new || deadline_now() < a->next_status)
                return;
        notify_status("%s%zu session%s, %llu message%s", a->is_stopping ? "stopping: " : "", a->n_sessions,
                      plural(a->n_sessions), (unsigned long long) a->n_messages, plural(a->n_messages));
        a->is_status_new = false;
        a->next_status = deadline_now() + STATUS_PAUSE;
}

/* --- configuration ---------------------------------------------------------------------------------------------- */

/* Whether a session could be opened with it: found out now, and not by the first client. */
static bool can_serve(const struct config *c) {
        struct delivery *d;
        struct peer nobody;
        int r;

        peer_local(&nobody);
        r = c->strategy->open(c, &nobody, &d);
        if (r == 0 && c->strategy->close)
                c->strategy->close(d);
        return r == 0;
}

static void warn(const char *option, const char *what) {
        log_say(LOG_WARNING, "warning: %s: %s", option, what);
}

/* Tells sessions the number of a descriptor. */
static void set_number(const char *variable, int fd) {
        char number[16];

        text_format(number, sizeof(number), "%d", fd);
        setenv(variable, number, 1);
}

/* Sessions that show messages get our standard output, if that is where they go. */
static void pass_output(struct acceptor *a) {
        bool is_passed = a->config->strategy->needs_output && output_fd() > STDERR_FILENO;

        a->output = is_passed ? output_fd() : -1;
        if (is_passed)
                set_number(OUTPUT_VARIABLE, a->output);
        else
                unsetenv(OUTPUT_VARIABLE);
}

/* Makes what sessions read of it, and room for as many as there may be. */
static int take_config(struct acceptor *a, struct config *c) {
        size_t wanted = (size_t) c->max_connections, room = wanted > a->n_sessions ? wanted : a->n_sessions, n;
        struct session *sessions = reallocarray(a->sessions, room, sizeof(*sessions));
        char *text = NULL;
        FILE *f;

        if (!sessions)
                return -ENOMEM;
        a->sessions = sessions;
        f = open_memstream(&text, &n);
        if (!f)
                return -ENOMEM;
        config_print_for_session(c, f);
        if (fclose(f) != 0)
                return -ENOMEM;
        free(a->text);
        a->text = text;
        a->n_text = n;
        a->config = c;
        pass_output(a);
        risks_warn(c, false, warn);
        set_idle_deadline(a);
        return 0;
}

static void say_reloading(void) {
        char text[80];
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long) t.tv_sec * 1000000 + (unsigned long long) t.tv_nsec / 1000);
        notify_state(text);
}

static void reload(struct acceptor *a) {
        struct config *old = a->config;

        say_reloading();
        if (a->load(a->spare) && can_serve(a->spare) && take_config(a, a->spare) == 0) {
                log_say(LOG_NOTICE, "reloaded: new sessions have the new configuration (listen and user need a restart)");
                a->spare = old;
        } else
                log_say(LOG_ERR, "not reloaded: sessions go on with the old configuration");
        config_free(a->spare);
        notify_state("READY=1");
        a->is_status_new = true;
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void signal_sessions(const struct acceptor *a) {
        for (size_t i = 0; i < a->n_sessions; i++)
                kill(a->sessions[i].pid, SIGTERM);
}

/* The first time sessions may go on for a while; after that, and the second time, they are told to end. */
static void stop(struct acceptor *a) {
        if (a->is_stopping) {
                signal_sessions(a);
                return;
        }
        notify_state("STOPPING=1");
        for (size_t i = 0; i < a->n_listeners; i++)
                listen_close(a->listeners + i);
        a->is_stopping = a->is_status_new = true;
        a->deadline = deadline_after(a->config->stop_timeout);
        if (a->n_sessions > 0)
                log_say(LOG_NOTICE, "stopping: %zu session%s %llu second%s to end", a->n_sessions,
                        a->n_sessions == 1 ? " has" : "s have",
                        (unsigned long long) a->config->stop_timeout, plural(a->config->stop_timeout));
}

static void on_deadline(struct acceptor *a) {
        if (a->is_stopping)
                signal_sessions(a);
        else {
                log_say(LOG_NOTICE, "nobody came for %llu second%s: exiting",
                        (unsigned long long) a->config->exit_idle_time, plural(a->config->exit_idle_time));
                a->is_over = true;
        }
        a->deadline = INT64_MAX;
}

/* --- the loop --------------------------------------------------------------------------------------------------- */

static void on_signals(struct acceptor *a) {
        struct signalfd_siginfo s;

        while (read(a->signal_fd, &s, sizeof(s)) == sizeof(s))
                if (s.ssi_signo == SIGCHLD)
                        reap(a);
                else if (s.ssi_signo != SIGHUP)
                        stop(a);
                else if (!a->is_stopping)
                        reload(a);
}

static int64_t earlier(int64_t a, int64_t b) {
        return a < b ? a : b;
}

/* When something is to be done even if nothing happens. */
static int64_t next_time(const struct acceptor *a) {
        int64_t t = a->deadline;

        if (a->is_status_new)
                t = earlier(t, a->next_status);
        if (a->refused.n > 0)
                t = earlier(t, a->next_refusal);
        return a->resume ? earlier(t, a->resume) : t;
}

static void wait_and_act(struct acceptor *a) {
        struct pollfd fds[ACCEPTOR_LISTENERS_MAX + 2] = {
                { .fd = a->signal_fd, .events = POLLIN },
                { .fd = a->counter_in, .events = POLLIN },
        };
        bool is_accepting = !a->is_stopping && !a->resume;

        for (size_t i = 0; i < a->n_listeners; i++)
                fds[i + 2] = (struct pollfd) { .fd = is_accepting ? a->listeners[i].fd : -1, .events = POLLIN };
        if (poll(fds, a->n_listeners + 2, deadline_left(next_time(a))) < 0) {
                poll(NULL, 0, SHORTAGE_PAUSE); /* out of memory, for now */
                return;
        }
        if (fds[1].revents)
                count_messages(a);
        if (fds[0].revents)
                on_signals(a);
        for (size_t i = 0; i < a->n_listeners && !a->is_stopping; i++)
                if (fds[i + 2].revents)
                        accept_some(a, a->listeners + i);
        if (a->resume && deadline_left(a->resume) == 0)
                a->resume = 0;
        if (deadline_left(a->deadline) == 0)
                on_deadline(a);
        log_refusals(a);
        say_status(a);
}

/* --- the beginning ---------------------------------------------------------------------------------------------- */

/* Names are separated by colons. */
static void next_name(const char **names, char ret[static LISTEN_NAME_MAX + 1]) {
        size_t n = strcspn(*names, ":");

        snprintf(ret, LISTEN_NAME_MAX + 1, "%.*s", (int) n, *names);
        *names += n + ((*names)[n] == ':');
}

size_t acceptor_take_passed(struct listener ret[static ACCEPTOR_LISTENERS_MAX]) {
        const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
        int n_fds = pid && fds && strtol(pid, NULL, 10) == getpid() ? atoi(fds) : 0;
        char name[LISTEN_NAME_MAX + 1];
        size_t n = 0;

        names = names ? names : "";
        for (int i = 0; i < n_fds && n < ACCEPTOR_LISTENERS_MAX; i++) {
                next_name(&names, name);
                n += listen_adopt(3 + i, name, ret + n);
        }
        if (n == 0 && listen_adopt(STDIN_FILENO, "", ret) && open("/dev/null", O_RDWR) == STDIN_FILENO)
                n = 1;
        return n;
}

static void complain_of_address(const char *endpoint, int error, const char *why) {
        const char *advice = "";

        if (error == -EADDRINUSE)
                advice = "; another program is there: stop it, or choose another address";
        else if (error == -EACCES && *endpoint != '/')
                advice = "; ports below 1024 are root's: start as root (user= says who to become), or choose "
                         "another";
        log_say(LOG_ERR, "cannot listen on %s: %s%s", endpoint, why, advice);
}

/* Opens what the configuration names, and says of each that cannot be had. Returns 0 or an exit
 * status. */
static int listen_all(struct acceptor *a) {
        const struct list *list = &a->config->listen;
        int status = 0;

        for (size_t i = 0; i < list->n; i++) {
                const char *why;
                int n = listen_at(list->items[i], a->listeners + a->n_listeners, ACCEPTOR_LISTENERS_MAX - a->n_listeners, &why);

                if (n < 0) {
                        complain_of_address(list->items[i], n, why);
                        status = n == -EINVAL ? EX_CONFIG : EX_TEMPFAIL;
                } else
                        a->n_listeners += (size_t) n;
        }
        return status;
}

static int give_up_root(const struct config *c) {
        const char *name = c->user ? c->user : USER_DEFAULT;
        int r = geteuid() == 0 ? user_become(name) : user_drop_capabilities();

        if (r == -ENOENT)
                log_say(LOG_ERR, "user=%s: there is no such user; name one that exists", name);
        else if (r < 0)
                log_say(LOG_ERR, "user=%s: cannot become this user: %s", name, strerror(-r));
        return r == -ENOENT ? EX_CONFIG : r < 0 ? EX_TEMPFAIL : 0;
}

/* Nothing is inherited by sessions, neither what others left open for us nor a standard error that is the client's: where it
 * is closed they log to syslog(3). */
static void keep_descriptors_from_sessions(void) {
        fd_close_range(STDERR_FILENO + 1, CLOSE_RANGE_CLOEXEC);
        if (log_current_target() == LOG_TO_SYSLOG)
                fcntl(STDERR_FILENO, F_SETFD, FD_CLOEXEC);
}

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

/* Makes the pipe in which sessions count. */
static int prepare_descriptors(struct acceptor *a) {
        int counter[2];

        keep_descriptors_from_sessions();
        a->reserve = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (a->reserve < 0 || pipe2(counter, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        a->counter_in = counter[0];
        a->counter_out = counter[1];
        set_number(NOTIFY_COUNTER, a->counter_out);
        return 0;
}

/* What says something about us and would be wrong for sessions. */
static void clean_environment(void) {
        static const char *const names[] = { "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC" };

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                unsetenv(names[i]);
}

static void say_ready(const struct acceptor *a) {
        for (size_t i = 0; i < a->n_listeners; i++) {
                struct log_line l;

                log_start(&l, "listening");
                log_field(&l, "address", "%s", a->listeners[i].address);
                if (*a->listeners[i].name)
                        log_field(&l, "name", "%s", a->listeners[i].name);
                log_field(&l, "strategy", "%s", a->config->strategy->name);
                log_field(&l, "config", "%s", a->config->file ? a->config->file : "none");
                log_send(&l, LOG_NOTICE);
        }
        notify_state("READY=1");
}

static int start(struct acceptor *a) {
        ssize_t n = readlink("/proc/self/exe", a->program, sizeof(a->program) - 1);
        int status = listen_all(a), r;

        if (status || (status = give_up_root(a->config)))
                return status;
        strcpy(a->program + (n > 0 ? n : 0), n > 0 ? "" : "/proc/self/exe");
        clean_environment();
        if ((r = prepare_descriptors(a)) < 0 || (r = take_config(a, a->config)) < 0) {
                log_say(LOG_ERR, "cannot accept connections: %s", strerror(-r));
                return EX_TEMPFAIL;
        }
        if (!can_serve(a->config))
                return EX_CONFIG;
        say_ready(a);
        return 0;
}

/* We cannot serve. Those who wait at passed sockets would have us started again at once, until whoever holds the sockets gives
 * the port up: they are told, and whoever else comes soon, before we exit. */
static void turn_away(struct acceptor *a, size_t n_passed) {
        int64_t deadline = deadline_after(TURNING_AWAY);
        struct pollfd fds[ACCEPTOR_LISTENERS_MAX + 1] = { { .fd = a->signal_fd, .events = POLLIN } };

        for (size_t i = 0; i < n_passed; i++)
                fds[i + 1] = (struct pollfd) { .fd = a->listeners[i].fd, .events = POLLIN };
        if (poll(fds, n_passed + 1, 0) == 0)
                return;
        while (poll(fds, n_passed + 1, deadline_left(deadline)) > 0 && !fds[0].revents)
                for (size_t i = 0; i < n_passed; i++) {
                        int fd = fds[i + 1].revents ? accept4(a->listeners[i].fd, NULL, NULL, SOCK_CLOEXEC) : -1;

                        if (fd >= 0)
                                refuse(a, a->listeners + i, fd, "421 4.3.5 this server is not configured correctly, try again later\r\n",
                                       "the configuration has mistakes");
                }
}

int acceptor_run(struct config *c, struct listener *listeners, size_t n_passed, int mistakes, bool (*load)(struct config *ret)) {
        static struct config spare;
        static struct acceptor a;
        int status;

        a = (struct acceptor) { .config = c, .spare = &spare, .load = load, .listeners = listeners, .n_listeners = n_passed,
                                .signal_fd = take_signals(), .is_status_new = true };
        status = mistakes ? mistakes : start(&a);
        if (status)
                turn_away(&a, n_passed);
        while (status == 0 && !a.is_over && !(a.is_stopping && a.n_sessions == 0))
                wait_and_act(&a);
        for (size_t i = 0; i < a.n_listeners; i++)
                listen_close(a.listeners + i);
        return status;
}
