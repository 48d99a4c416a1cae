/* SPDX-License-Identifier: MIT */
/* accept/spawn.c - starts a session: a process that executes this program again.
 *
 * The child is made by vfork(2): it shares our memory until it executes us, and makes system calls
 * only. posix_spawn(3) would do, but with glibc it leaves signals 32 and 33 ignored, in the session
 * and in the programs that the session runs.
 */
#include "accept/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/array.h"
#include "base/text.h"
#include "deliver/delivery.h"
#include "io/fd.h"
#include "io/inherited.h"
#include "io/log.h"
#include "io/notify.h"
#include "io/output.h"
#include "io/patience.h"

/* This very program, whatever is at its path now and whether or not this user may go there. */
static const char ourselves[] = "/proc/self/exe";

void spawn_clean_environment(void) {
        static const char *const names[] = {
                "LISTEN_FDS",       "LISTEN_PID",
                "LISTEN_FDNAMES",   "NOTIFY_SOCKET",
                "WATCHDOG_PID",     "WATCHDOG_USEC",
                INHERITED_TLS,      INHERITED_UPSTREAM_TLS,
                INHERITED_PASSWORD, INHERITED_UCSPI_CONTROL,
                INHERITED_UCSPI_IN, INHERITED_UCSPI_OUT,
        };

        for (size_t i = 0; i < ELEMENTS(names); i++)
                unsetenv(names[i]);
        peer_clear_environment();
}

/* Sessions get those descriptors only that spawn_session() names: not what others left open for us,
 * nor a standard error that is the client's. If that is closed they log to syslog(3). */
static void keep_descriptors(void) {
        fd_close_range(STDERR_FILENO + 1, CLOSE_RANGE_CLOEXEC);
        if (log_current_target() == LOG_TO_SYSLOG)
                fcntl(STDERR_FILENO, F_SETFD, FD_CLOEXEC);
}

/* Tells sessions the number of a descriptor. */
static void set_number(const char *variable, int fd) {
        char number[16];

        text_format(number, sizeof(number), "%d", fd);
        setenv(variable, number, 1);
}

/* -1: sessions are not told. */
static void tell(const char *variable, int fd) {
        if (fd >= 0)
                set_number(variable, fd);
        else
                unsetenv(variable);
}

bool spawn_is_possible(void) {
        struct stat st;

        return lstat(ourselves, &st) == 0;
}

void spawn_init(struct spawn *ret, int counter) {
        ssize_t n;

        *ret = (struct spawn) { .counter = counter, .output = -1, .passed = { -1, -1, -1 } };
        n = readlink(ourselves, ret->program, sizeof(ret->program) - 1);
        if (n <= 0)
                strcpy(ret->program, ourselves);
        spawn_clean_environment();
        keep_descriptors();
        set_number(NOTIFY_COUNTER, counter);
}

/* Sessions that show messages get our standard output, if that is where they go. */
static void pass_output(struct spawn *s, bool is_needed) {
        s->output = is_needed && output_fd() > STDERR_FILENO ? output_fd() : -1;
        tell(OUTPUT_VARIABLE, s->output);
}

void spawn_pass_on(struct spawn *s, enum spawn_passed which, int fd) {
        static const char *const variables[] = {
                [SPAWN_TLS] = INHERITED_TLS,
                [SPAWN_UPSTREAM_TLS] = INHERITED_UPSTREAM_TLS,
                [SPAWN_PASSWORD] = INHERITED_PASSWORD,
        };

        s->passed[which] = fd;
        tell(variables[which], fd);
}

static void set_hurry(struct spawn *s, const struct config *c) {
        static const uint64_t seconds = 10, errors = 5;

        text_format(s->hurry[0], sizeof(s->hurry[0]), "--timeout=%llu",
                    (unsigned long long) (c->timeout < seconds ? c->timeout : seconds));
        text_format(s->hurry[1], sizeof(s->hurry[1]), "--max-errors=%llu",
                    (unsigned long long) (c->max_errors < errors ? c->max_errors : errors));
}

int spawn_set_config(struct spawn *s, const struct config *c) {
        char *text = NULL;
        size_t n;
        FILE *f = open_memstream(&text, &n);

        if (!f)
                return -ENOMEM;
        config_print_for_session(c, f);
        if (fclose(f) != 0) {
                free(text);
                return -ENOMEM;
        }
        free(s->text);
        s->text = text;
        s->n_text = n;
        set_hurry(s, c);
        pass_output(s, c->strategy->needs_output);
        return 0;
}

/* The configuration as a file of the session's own: a shared one would have one place to read from.
 * Returns a descriptor or a negative errno. */
static int config_file(const struct spawn *s) {
        int fd = memfd_create(PROGRAM ".conf", MFD_CLOEXEC), error;

        if (fd < 0 || pwrite(fd, s->text, s->n_text, 0) == (ssize_t) s->n_text)
                return fd < 0 ? -errno : fd;
        error = errno;
        close(fd);
        return -error;
}

/* What one session is started with. */
struct start {
        const struct spawn *spawn;
        const struct spawn_client *client;
        int config;
        char config_option[32], peer_option[16 + PEER_TEXT_MAX];
        volatile int error; /* of the child */
};

/* In the child: they wait until the session takes them, and can tell its client. */
static void block_signals(void) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, STOP_SOON);
        sigprocmask(SIG_SETMASK, &set, NULL);
}

/* In the child: a descriptor is closed by execve(2) unless it is passed on. -1 is none. */
static bool pass_on(int fd) {
        return fd < 0 || fcntl(fd, F_SETFD, 0) == 0;
}

/* In the child: what a session has open besides standard error. */
static bool arrange_descriptors(const struct start *s) {
        int connection = s->client->connection;

        for (size_t i = 0; i < SPAWN_PASSED; i++)
                if (!pass_on(s->spawn->passed[i]))
                        return false;
        return dup2(connection, STDIN_FILENO) >= 0 && dup2(connection, STDOUT_FILENO) >= 0 &&
               pass_on(s->config) && pass_on(s->spawn->counter) && pass_on(s->spawn->output);
}

static void become_session(struct start *s) {
        static char name[] = PROGRAM, tls[] = "--tls=implicit";
        char *argv[7] = { name, s->config_option, s->peer_option };
        size_t n = 3;

        if (s->client->is_tls)
                argv[n++] = tls;
        for (size_t i = 0; i < 2 && s->client->is_in_hurry; i++)
                argv[n++] = (char *) s->spawn->hurry[i];
        block_signals();
        if (arrange_descriptors(s)) {
                execve(s->spawn->program, argv, environ);
                if (errno == ENOENT || errno == EACCES) /* replaced; this user cannot reach it */
                        execve(ourselves, argv, environ);
        }
        s->error = errno;
        _exit(EX_TEMPFAIL);
}

/* Returns its pid or a negative errno. */
static pid_t start(struct start *s) {
        pid_t pid = vfork();

        if (pid == 0)
                become_session(s);
        if (pid < 0)
                return -errno;
        if (s->error) /* it is gone */
                waitpid(pid, NULL, 0);
        return s->error ? -s->error : pid;
}

/* Of a client that has gone meanwhile the session learns only here who it was. */
static void set_options(struct start *s) {
        char peer[PEER_TEXT_MAX + 1];

        peer_format(&s->client->peer, peer);
        text_format(s->peer_option, sizeof(s->peer_option), "--peer=%s", peer);
        text_format(s->config_option, sizeof(s->config_option), "--config=/dev/fd/%d", s->config);
}

pid_t spawn_session(const struct spawn *s, const struct spawn_client *client) {
        struct start session = { s, client, .config = config_file(s) };
        pid_t pid;

        if (session.config < 0)
                return session.config;
        set_options(&session);
        pid = start(&session);
        close(session.config);
        return pid;
}
