/* SPDX-License-Identifier: MIT */
/* certificates.c - certificate and key, as smtpd-tls(8) sees them. */
#include "certificates.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/text.h"
#include "broker/child.h"
#include "io/deadline.h"
#include "io/fd.h"
#include "io/helper.h"

enum {
        SECONDS = 20,
        FINDINGS_MAX = 64 * 1024, /* octets */
};

static const char option[] = "tls-certificate";

struct findings {
        char text[FINDINGS_MAX + 1];
};

/* What it prints, until it ends. Returns 0 or an errno. */
static int read_findings(int fd, struct findings *ret) {
        int64_t deadline = deadline_after(SECONDS);
        struct pollfd p = { .fd = fd, .events = POLLIN };
        size_t room = FINDINGS_MAX;
        ssize_t n = 1;

        while (n != 0 && room > 0) {
                int ready = poll(&p, 1, deadline_left(deadline));

                if (ready == 0)
                        return ETIME;
                n = ready > 0 ? read(fd, ret->text + FINDINGS_MAX - room, room) : -1;
                if (n < 0 && errno != EINTR)
                        return errno;
                room -= n > 0 ? (size_t) n : 0;
        }
        ret->text[FINDINGS_MAX - room] = '\0';
        return 0;
}

/* A line each: "error: WHAT" or "warning: WHAT". */
static void say_findings(struct findings *f, config_complaint *complain,
                         config_complaint *warn_of) {
        static const char error[] = "error: ", warning[] = "warning: ";
        char *rest = f->text, *line;

        while ((line = strsep(&rest, "\n")))
                if (strncmp(line, error, sizeof(error) - 1) == 0)
                        complain(option, line + sizeof(error) - 1);
                else if (strncmp(line, warning, sizeof(warning) - 1) == 0)
                        warn_of(option, line + sizeof(warning) - 1);
                else if (*line)
                        warn_of(option, line);
}

/* A wait status, or -1: it could not be run, or took too long, which has been said. */
static int run(const char *program, char **arguments, struct findings *ret,
               config_complaint *complain) {
        struct child child = { .path = program,
                               .argv = arguments,
                               .environment = environ,
                               .in = STDIN_FILENO,
                               .err = STDERR_FILENO };
        int out[2], error = -fd_make_pipe(out), status = 0;
        char what[PATH_MAX + 128];
        pid_t pid = -1;

        if (!error) {
                child.out = out[1];
                pid = child_start(&child);
                close(out[1]);
                error = child.error ? child.error : read_findings(out[0], ret);
                close(out[0]);
        }
        if (pid > 0 && error)
                kill(pid, SIGKILL);
        if (pid > 0)
                waitpid(pid, &status, 0);
        if (!error)
                return status;
        text_format(what, sizeof(what), "cannot run %s: %s", program, strerror(error));
        complain(option, what);
        return -1;
}

/* Without an acceptor, root's sessions become this user before they read anything. */
static const char *reader(const struct config *c) {
        return geteuid() == 0 && !config_is_listening(c) && *c->user ? c->user : NULL;
}

static int check_by(const char *program, const struct config *c, config_complaint *complain,
                    config_complaint *warn_of) {
        char **arguments = config_tls_arguments(c, TLS_TASK_CHECK, reader(c));
        static struct findings findings; /* large */
        int status;

        if (!arguments) {
                complain(option, strerror(ENOMEM));
                return EX_TEMPFAIL;
        }
        status = run(program, arguments, &findings, complain);
        config_tls_free(arguments);
        if (status < 0)
                return EX_CONFIG;
        say_findings(&findings, complain, warn_of);
        if (WIFEXITED(status) && (WEXITSTATUS(status) == EX_OK || WEXITSTATUS(status) == EX_CONFIG))
                return WEXITSTATUS(status);
        complain(option, "smtpd-tls --check ended without a result");
        return EX_CONFIG;
}

/* Which of the files the unit has, and we have not. */
static const char *find_credential(const struct config *c) {
        for (size_t i = 0; i < c->tls_certificate.n; i++)
                if (*c->tls_certificate.items[i] != '/')
                        return c->tls_certificate.items[i];
        for (size_t i = 0; i < c->tls_key.n; i++)
                if (*c->tls_key.items[i] != '/')
                        return c->tls_key.items[i];
        return c->tls_client_ca && *c->tls_client_ca != '/' ? c->tls_client_ca : NULL;
}

int certificates_check(const struct config *c, config_complaint *complain,
                       config_complaint *warn_of) {
        char program[PATH_MAX], what[PATH_MAX + 256];
        const char *credential = config_is_self_signed(c) ? NULL : find_credential(c);

        if (c->tls_certificate.n == 0 || (c->tls == TLS_NO && c->listen_tls.n == 0))
                return 0;
        if (!helper_find("smtpd-tls", program)) {
                text_format(what, sizeof(what),
                            "smtpd-tls is not installed (cannot run %s): build "
                            "smtpd with libssl-dev and pkg-config installed, "
                            "or choose tls=no",
                            program);
                complain(option, what);
                return EX_CONFIG;
        }
        if (!credential)
                return check_by(program, c, complain, warn_of);
        text_format(what, sizeof(what),
                    "%.200s is a credential of the unit, which was not checked "
                    "($CREDENTIALS_DIRECTORY is not set)",
                    credential);
        warn_of(option, what);
        return 0;
}
