/* SPDX-License-Identifier: MIT */
/* broker/prologue.c - a process prepares a connection to an upstream. */
#include "broker/prologue.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/text.h"
#include "broker/executable.h"
#include "broker/handover.h"
#include "broker/wire.h"
#include "io/deadline.h"
#include "io/fd.h"
#include "io/log.h"
#include "io/patience.h"

enum { SOON = 2000 /* milliseconds */, ENGINE_REQUEST_MAX = 1024 };

/* What that process says to the broker: that it wants TLS, or how it ended. */
enum word { WANTS_TLS = 1, ENDED };

struct message {
        uint32_t word;
        struct prologue_result result;
};

/* Pairs: [0] is the process's, and of `plain` the session's; [1] is ours, or the engine's. */
struct ends {
        int words[2], control[2], plain[2];
};

static int64_t soon(void) {
        return deadline_now() + SOON;
}

static void close_pair(int pair[static 2]) {
        fd_close(pair);
        fd_close(pair + 1);
}

static int make_pair(int ret[static 2], int flags) {
        return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, ret) < 0 ? -errno : 0;
}

/* Returns 0 or a negative errno. */
static int make_ends(struct ends *ret, bool has_tls) {
        int r;

        *ret = (struct ends) { { -1, -1 }, { -1, -1 }, { -1, -1 } };
        r = make_pair(ret->words, 0);
        if (r == 0 && has_tls)
                r = make_pair(ret->control, 0);
        if (r == 0 && has_tls)
                r = make_pair(ret->plain, SOCK_NONBLOCK);
        return r;
}

static void close_ends(struct ends *e) {
        close_pair(e->words);
        close_pair(e->control);
        close_pair(e->plain);
}

/* --- the process ------------------------------------------------------------------------------ */

int prologue_ask_tls(const struct prologue *p) {
        static const struct message m = { .word = WANTS_TLS };

        return wire_send(p->broker, &m, sizeof(m), NULL, soon());
}

/* Nobody looks into its memory, where the password is. */
_Noreturn static void be_speaker(struct prologue *p, int session) {
        static struct message m;

        prctl(PR_SET_DUMPABLE, 0);
        if (session >= 0)
                close(session);
        if (p->plan->requests >= 0)
                close(p->plan->requests);
        m.word = ENDED;
        p->plan->speak(p, &m.result);
        wire_send(p->broker, &m, sizeof(m), NULL, soon());
        _exit(EXIT_SUCCESS);
}

static pid_t start_speaker(struct prologue *p, struct ends *e, int session) {
        pid_t pid = fork();

        if (pid != 0) {
                fd_close(e->words);
                fd_close(e->control);
                return pid;
        }
        fd_close(e->words + 1);
        fd_close(e->control + 1);
        fd_close(e->plain + 1);
        be_speaker(p, session);
}

/* --- TLS -------------------------------------------------------------------------------------- */

static void say_no_engine(int control, const char *engine, int error) {
        char reason[EXECUTABLE_REASON_MAX], text[EXECUTABLE_REASON_MAX + 64];
        size_t n;

        executable_diagnose(engine, engine, error, reason);
        n = text_format(text, sizeof(text), "TLS_ERROR=cannot run %s: %s", engine, reason);
        wire_send(control, text, n + 1, NULL, soon());
}

/* The one that serves all sessions. */
static void ask_engine(const struct prologue_plan *plan, const char *endpoint,
                       const struct passed *passed) {
        char request[ENGINE_REQUEST_MAX];
        size_t n = config_upstream_request(plan->config, endpoint, request, sizeof(request));
        int r = n > 0 ? wire_send(plan->requests, request, n, passed, soon()) : -EMSGSIZE;

        if (r < 0)
                log_say(LOG_ERR, "cannot ask the TLS engine for upstreams: %s", strerror(-r));
}

/* One of its own for the connection. */
static void run_engine(const struct prologue *p, const struct ends *e,
                       const struct passed *passed) {
        char **arguments = config_upstream_arguments(p->plan->config, p->endpoint, p->plan->trust);
        int error = arguments ? handover_start(p->plan->engine, arguments, passed) : -ENOMEM;

        if (arguments)
                config_tls_free(arguments);
        if (error < 0)
                say_no_engine(e->control[1], p->plan->engine, -error);
}

/* If there is none the end of control says so. */
static void start_engine(const struct prologue *p, struct ends *e) {
        const struct passed passed = { PASSED_MAX, { p->connection, e->control[1], e->plain[1] } };

        if (p->plan->requests >= 0)
                ask_engine(p->plan, p->endpoint, &passed);
        else
                run_engine(p, e, &passed);
        fd_close(e->control + 1);
        fd_close(e->plain + 1);
}

/* --- the broker ------------------------------------------------------------------------------- */

static void fail(struct prologue_result *ret, uint32_t failure, const char *why) {
        ret->failure = failure;
        text_format(ret->step, sizeof(ret->step), "connect");
        text_format(ret->why, sizeof(ret->why), "%s", why);
}

#define ENDS(text) (memchr((text), '\0', sizeof(text)) != NULL)

/* Whoever is at the other end of the connection may have taken the process over. */
static bool is_whole(const struct prologue_result *r) {
        const struct security *tls = &r->security;
        const struct security_server *server = &r->server;

        return ENDS(r->step) && ENDS(r->why) && ENDS(r->said.text) && ENDS(r->said.enhanced) &&
               ENDS(tls->protocol) && ENDS(tls->cipher) && ENDS(tls->sni) &&
               ENDS(tls->fingerprint) && ENDS(tls->verify) && ENDS(server->names) &&
               ENDS(server->subject) && ENDS(server->fingerprint) && ENDS(server->verify);
}

/* Returns 0 when it has ended well, or a negative errno. */
static int listen_to_speaker(const struct prologue *p, struct ends *e, int session,
                             struct prologue_result *ret) {
        struct pollfd words = { .fd = e->words[1], .events = POLLIN };
        static struct message m;
        struct patience patience;
        int r;

        patience_init(&patience, session, -1);
        for (;;) {
                r = patience_wait(&patience, &words, 1, p->deadline);
                if (r == 0)
                        r = wire_receive(e->words[1], &m, sizeof(m), NULL, soon());
                if (r < 0)
                        return r;
                if (m.word == WANTS_TLS && e->control[1] >= 0)
                        start_engine(p, e);
                else if (m.word == ENDED && is_whole(&m.result)) {
                        *ret = m.result;
                        return 0;
                } else
                        return -EPROTO;
        }
}

static const char *reason_of(int error) {
        return error == -ECONNRESET || error == -EPROTO
                       ? "the process that prepares the connection ended"
               : error == -ETIMEDOUT ? "no answer in time"
                                     : patience_reason(error);
}

/* The connection, or what has taken its place. */
static int take(const struct prologue_result *r, struct ends *e, int *connection) {
        int *from = r->failure ? NULL : r->is_secured ? e->plain : connection, taken;

        if (!from)
                return -1;
        taken = *from;
        *from = -1;
        return taken;
}

int prologue_run(const struct prologue_plan *plan, const char *endpoint, int connection,
                 int session, int64_t deadline, struct prologue_result *ret) {
        struct prologue p = { plan, endpoint, connection, -1, -1, -1, deadline };
        struct ends e;
        int r = make_ends(&e, plan->config->upstream_tls != UPSTREAM_TLS_NO), taken;
        pid_t pid = -1;

        *ret = (struct prologue_result) { 0 };
        if (r == 0) {
                p.control = e.control[0];
                p.plain = e.plain[0];
                p.broker = e.words[0];
                pid = start_speaker(&p, &e, session);
                r = pid < 0 ? -EAGAIN : listen_to_speaker(&p, &e, session, ret);
        }
        if (pid > 0) { /* who has said its last word may have been taken over, and stay */
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
        }
        if (r < 0)
                fail(ret, 1, pid > 0 ? reason_of(r) : strerror(-r));
        taken = take(ret, &e, &connection);
        fd_close(&connection);
        close_ends(&e);
        return taken;
}
