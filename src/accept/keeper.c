/* SPDX-License-Identifier: MIT */
/* accept/keeper.c - a process that starts the TLS engine, and restarts it when it ends. */
#include "accept/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "accept/spawn.h"
#include "base/array.h"
#include "io/deadline.h"
#include "io/fd.h"
#include "io/log.h"

enum {
        READY = STDERR_FILENO + 1, /* where the engine says that it is ready, and what it wants */
        READY_SECONDS = 10,
        PAUSE = 1000,      /* milliseconds from a start to the next one */
        PAUSE_MAX = 60000, /* while it cannot be started */
        GRACE = 1000,      /* milliseconds to end in */
        LOOK = 10,
        REQUESTS = 1000, /* more than can wait */
};

struct keeper {
        const struct keeper_engine *engine;
        int orders;
        int children; /* readable when one has ended */
        pid_t pid;    /* of the engine; 0: there is none */
        int words;    /* what it says, smtpd-tls(8); -1: nothing any more */
        int64_t next; /* the earliest time to start one */
        int64_t pause;
};

/* --- an engine -------------------------------------------------------------------------------- */

_Noreturn static void become_engine(const struct keeper *k, int ready) {
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (log_current_target() == LOG_TO_SYSLOG)
                /* so that it does not take that for the log */
                dup2(k->engine->requests, STDERR_FILENO);
        if (dup2(k->engine->requests, STDIN_FILENO) >= 0 && dup2(ready, READY) >= 0 &&
            fcntl(READY, F_SETFD, 0) == 0 && fd_close_range(READY + 1, 0) == 0)
                execv(k->engine->program, k->engine->arguments);
        log_say(LOG_ERR, "cannot run %s: %s", k->engine->program, strerror(errno));
        _exit(EX_TEMPFAIL);
}

/* Waits for the process to end, and then kills it. Returns its wait status. */
static int wait_for_end(pid_t pid, int64_t deadline) {
        int status = 0;

        while (waitpid(pid, &status, WNOHANG) == 0) {
                if (deadline_left(deadline) == 0)
                        kill(pid, SIGKILL);
                poll(NULL, 0, LOOK);
        }
        return status;
}

/* That of an engine which was never ready is ours. */
static int exit_status_of(int wait_status) {
        int status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : EX_TEMPFAIL;

        return status == EX_CONFIG || status == EX_USAGE ? EX_CONFIG : EX_TEMPFAIL;
}

/* Until it is ready: 0, or an exit status, and it is gone. */
static int wait_until_ready(const struct keeper *k, pid_t pid, int ready) {
        int64_t deadline = deadline_after(READY_SECONDS);
        struct pollfd fds[] = { { .fd = ready, .events = POLLIN }, { .fd = k->orders } };
        char ready_line[16];
        int n;

        while ((n = poll(fds, 2, deadline_left(deadline))) < 0 && errno == EINTR)
                ;
        if (n > 0 && read(ready, ready_line, sizeof(ready_line)) > 0)
                return 0;
        if (n == 0)
                log_say(LOG_ERR,
                        "the TLS engine was not ready within %d seconds: does the file system of "
                        "its key hang?",
                        READY_SECONDS);
        return exit_status_of(wait_for_end(pid, n == 0 ? 0 : deadline_now() + GRACE));
}

/* 0, or an exit status, and nothing has changed. */
static int start_engine(struct keeper *k) {
        int ready[2] = { -1, -1 }, status;
        pid_t pid;

        k->next = deadline_now() + PAUSE;
        pid = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ready) < 0 ? -1 : fork();
        if (pid == 0)
                become_engine(k, ready[1]);
        if (pid < 0)
                log_say(LOG_ERR, "cannot start smtpd-tls: %s", strerror(errno));
        fd_close(ready + 1);
        status = pid < 0 ? EX_TEMPFAIL : wait_until_ready(k, pid, ready[0]);
        if (status != 0) {
                fd_close(ready);
                return status;
        }
        fd_close(&k->words);
        k->words = ready[0];
        k->pid = pid;
        return 0;
}

/* --- its end ---------------------------------------------------------------------------------- */

static void say_end(pid_t pid, int status) {
        if (WIFSIGNALED(status))
                log_say(LOG_ERR,
                        "the TLS engine (process %d) was killed by signal %d (%s): restarting it",
                        (int) pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
        else
                log_say(WEXITSTATUS(status) == 0 ? LOG_NOTICE : LOG_ERR,
                        "the TLS engine (process %d) exited with status %d: restarting it",
                        (int) pid, WEXITSTATUS(status));
}

/* One that was replaced ends without a word. */
static void reap(struct keeper *k) {
        struct signalfd_siginfo s;
        int status;
        pid_t pid;

        while (read(k->children, &s, sizeof(s)) == sizeof(s))
                ;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                if (pid == k->pid) {
                        say_end(pid, status);
                        k->pid = 0;
                }
}

/* Those who wait for an engine that cannot be started hear that there is none: the descriptors that
 * came with their requests are closed. Some may be empty, and new ones come all the time. */
static void drop_requests(const struct keeper *k) {
        char octets[1];

        for (int i = 0; i < REQUESTS; i++)
                if (recv(k->engine->requests, octets, sizeof(octets), MSG_DONTWAIT) < 0)
                        return;
}

/* Returns as start_engine(), and is due again if it fails. */
static int start_anew(struct keeper *k) {
        int status = start_engine(k);

        if (status == 0) {
                k->pause = PAUSE;
                return 0;
        }
        k->next = deadline_now() + k->pause;
        k->pause = k->pause < PAUSE_MAX / 2 ? 2 * k->pause : PAUSE_MAX;
        drop_requests(k);
        return status;
}

/* --- orders ----------------------------------------------------------------------------------- */

static void answer(const struct keeper *k, int status) {
        char octet = (char) status;

        send(k->orders, &octet, 1, MSG_NOSIGNAL);
}

/* The next engine is there before this one ends; if it cannot be started this one stays. */
static int replace(struct keeper *k) {
        pid_t old = k->pid;
        int status = start_engine(k);

        if (status == 0 && old > 0)
                kill(old, SIGTERM);
        return status;
}

_Noreturn static void leave(struct keeper *k, bool is_stopped) {
        if (is_stopped && k->pid > 0) {
                kill(k->pid, SIGTERM);
                wait_for_end(k->pid, deadline_now() + GRACE);
        }
        _exit(EX_OK);
}

static void obey(struct keeper *k) {
        char order;
        ssize_t n = recv(k->orders, &order, 1, 0);

        if (n == 1 && order == KEEPER_RENEW)
                answer(k, replace(k));
        else if (n >= 0 || errno != EINTR)
                leave(k, n == 1);
}

/* The engine has one word left: there is a new certificate. */
static void listen_to_engine(struct keeper *k) {
        char words[16];

        if (recv(k->words, words, sizeof(words), MSG_DONTWAIT) <= 0) {
                fd_close(&k->words);
                return;
        }
        log_say(LOG_NOTICE, "TLS: new certificate or key: starting an engine for it");
        if (replace(k) != 0)
                log_say(LOG_ERR, "TLS goes on with the old certificate and key");
}

static void wait_and_act(struct keeper *k) {
        struct pollfd fds[] = {
                { .fd = k->orders, .events = POLLIN },
                { .fd = k->children, .events = POLLIN },
                { .fd = k->words, .events = POLLIN },
        };

        if (poll(fds, ELEMENTS(fds), k->pid > 0 ? -1 : deadline_left(k->next)) < 0)
                return;
        if (fds[2].revents)
                listen_to_engine(k);
        if (fds[0].revents)
                obey(k);
        if (fds[1].revents)
                reap(k);
        if (k->pid == 0 && deadline_left(k->next) == 0)
                start_anew(k);
}

/* --- the process ------------------------------------------------------------------------------ */

static void close_others(int requests, int orders) {
        int low = requests < orders ? requests : orders;
        int high = requests < orders ? orders : requests;

        if (low > STDERR_FILENO + 1)
                fd_close_between(STDERR_FILENO + 1, (unsigned) low - 1);
        if (high > low + 1)
                fd_close_between((unsigned) low + 1, (unsigned) high - 1);
        fd_close_range((unsigned) high + 1, 0);
}

/* What it has open: the log, requests and orders. A terminal's Ctrl-C is the acceptor's. */
static void arrange(const struct keeper *k) {
        int null;

        close_others(k->engine->requests, k->orders);
        log_open(log_current_target());
        log_be_quick();
        spawn_clean_environment();
        setpgid(0, 0);
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0) {
                close(null);
                return;
        }
        log_say(LOG_ERR, "cannot start smtpd-tls: /dev/null: %s", strerror(errno));
        _exit(EX_TEMPFAIL);
}

static int watch_children(void) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, NULL);
        return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

_Noreturn static void keep(const struct keeper_engine *engine, bool is_patient, int orders) {
        struct keeper k = { .engine = engine, .orders = orders, .pause = PAUSE, .words = -1 };
        int status;

        arrange(&k);
        k.children = watch_children();
        status = is_patient ? start_anew(&k) : start_engine(&k);
        answer(&k, status);
        if (status != 0 && !is_patient)
                _exit(status);
        for (;;)
                wait_and_act(&k);
}

pid_t keeper_start(const struct keeper_engine *engine, bool is_patient, int *ret_orders) {
        int ends[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
                return -errno;
        pid = fork();
        if (pid == 0)
                keep(engine, is_patient, ends[1]);
        close(ends[1]);
        if (pid < 0) {
                close(ends[0]);
                return -errno;
        }
        *ret_orders = ends[0];
        return pid;
}
