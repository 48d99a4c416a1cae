/* SPDX-License-Identifier: MIT */
/* accept/engine.c - a process that speaks TLS for our sessions, and may have the key. */
#include "accept/engine.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "accept/keeper.h"
#include "io/deadline.h"
#include "io/fd.h"
#include "io/helper.h"
#include "io/log.h"
#include "user.h"

enum {
        ANSWER_SECONDS = 13, /* more than the keeper gives an engine */
        END_SECONDS = 3,
};

void engine_init(struct engine *ret, enum engine_role role) {
        *ret = (struct engine) { .role = role, .requests = -1, .served = -1, .orders = -1 };
}

/* --- what is wanted --------------------------------------------------------------------------- */

/* A socket where connections begin with TLS; or NULL. */
static const struct listener *find_tls(const struct listeners *l) {
        for (size_t i = 0; i < l->n; i++)
                if (l->items[i].is_tls)
                        return l->items + i;
        return NULL;
}

static bool is_wanted(const struct engine *e, const struct config *c, const struct listeners *l) {
        if (e->role == ENGINE_FOR_UPSTREAMS)
                return c->upstream.n > 0 && c->upstream_tls != UPSTREAM_TLS_NO;
        return c->tls_certificate.n > 0 && (c->tls > TLS_NO || find_tls(l));
}

/* config_load() does not know which sockets there are. Returns 0 or an exit status. */
static int check(const struct engine *e, const struct config *c, const struct listeners *l) {
        const struct listener *first = find_tls(l);

        if (e->role == ENGINE_FOR_UPSTREAMS || c->tls_certificate.n > 0 || c->tls_engine ||
            (c->tls == TLS_NO && !first))
                return 0;
        log_say(LOG_ERR, "cannot offer TLS on %s: set tls-certificate=FILE or tls-engine=/SOCKET",
                first ? first->address : "any address");
        return EX_CONFIG;
}

/* Whom root's engine becomes. */
static const char *user_of(const struct config *c) {
        return *c->tls_user ? c->tls_user : *c->user ? c->user : user_default();
}

static bool is_equal(char *const *a, char *const *b) {
        for (; *a && *b; a++, b++)
                if (strcmp(*a, *b) != 0)
                        return false;
        return *a == *b;
}

/* --- the keeper ------------------------------------------------------------------------------- */

/* An exit status. */
static int get_answer(const struct engine *e) {
        struct pollfd answer = { .fd = e->orders, .events = POLLIN };
        int64_t deadline = deadline_after(ANSWER_SECONDS);
        unsigned char status;
        int n;

        while ((n = poll(&answer, 1, deadline_left(deadline))) < 0 && errno == EINTR)
                ;
        return n > 0 && read(e->orders, &status, 1) == 1 ? status : EX_TEMPFAIL;
}

static int start_keeper(struct engine *e, bool is_patient) {
        char program[PATH_MAX];
        struct keeper_engine engine = { program, e->arguments, e->served };

        if (!helper_find("smtpd-tls", program)) {
                log_say(LOG_ERR,
                        "%s: smtpd-tls is not installed (cannot run %s): build smtpd with "
                        "libssl-dev and pkg-config installed, or choose %s=no",
                        e->role == ENGINE_FOR_CLIENTS ? "tls-certificate" : "upstream-tls", program,
                        e->role == ENGINE_FOR_CLIENTS ? "tls" : "upstream-tls");
                return EX_CONFIG;
        }
        e->keeper = keeper_start(&engine, is_patient, &e->orders);
        if (e->keeper < 0)
                log_say(LOG_ERR, "cannot start smtpd-tls: %s", strerror((int) -e->keeper));
        return e->keeper < 0 ? EX_TEMPFAIL : get_answer(e);
}

/* The engine ends. */
static void stop_keeper(struct engine *e) {
        static const char order = KEEPER_STOP;
        struct pollfd end = { .fd = e->orders, .events = POLLIN };

        if (e->orders >= 0 && send(e->orders, &order, 1, MSG_NOSIGNAL) == 1)
                poll(&end, 1, END_SECONDS * 1000);
        fd_close(&e->orders);
}

/* Sessions that run still have their end of the socket. */
static void forget(struct engine *e) {
        fd_close(&e->requests);
        fd_close(&e->served);
        fd_close(&e->orders);
        if (e->arguments)
                config_tls_free(e->arguments);
        engine_init(e, e->role);
}

/* --- from outside ----------------------------------------------------------------------------- */

static int make_socket(struct engine *e) {
        int ends[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
                log_say(LOG_ERR, "cannot start smtpd-tls: %s", strerror(errno));
                return EX_TEMPFAIL;
        }
        e->requests = ends[0];
        e->served = ends[1];
        return 0;
}

/* Another engine, at the same socket, takes the place of the one that runs, if one does. It has its
 * own arguments. Returns 0 or an exit status. */
static int replace(struct engine *e, char **arguments) {
        struct engine other = { e->role,
                                e->requests,
                                e->served,
                                -1,
                                .is_of_root = geteuid() == 0,
                                .arguments = arguments };
        int status = e->served < 0 ? make_socket(&other) : 0;

        if (status == 0)
                status = start_keeper(&other, false);
        if (status != 0) {
                if (other.served == e->served)
                        other.requests = other.served = -1;
                forget(&other);
                return status;
        }
        stop_keeper(e);
        if (other.served == e->served)
                e->requests = e->served = -1;
        forget(e);
        *e = other;
        return 0;
}

static char **arguments_of(const struct engine *e, const struct config *c, bool is_of_root) {
        const char *user = is_of_root ? user_of(c) : NULL;
        char **arguments = e->role == ENGINE_FOR_CLIENTS
                                   ? config_tls_arguments(c, TLS_TASK_SERVE, user)
                                   : config_upstreams_arguments(c, user);

        if (!arguments)
                log_say(LOG_ERR, "cannot start smtpd-tls: %s", strerror(ENOMEM));
        return arguments;
}

int engine_start(struct engine *e, const struct config *c, const struct listeners *l) {
        char **arguments;
        int status = check(e, c, l);

        if (status != 0 || !is_wanted(e, c, l))
                return status;
        arguments = arguments_of(e, c, geteuid() == 0);
        return arguments ? replace(e, arguments) : EX_TEMPFAIL;
}

/* Only root could have another one. */
static bool is_fixed(const struct engine *e) {
        return e->requests >= 0 && e->is_of_root && geteuid() != 0;
}

/* Answers that came when nobody waited for them any more are about another order. Returns whether
 * the keeper is there. */
static bool drop_late_answers(const struct engine *e) {
        char octets[16];
        ssize_t n;

        while ((n = recv(e->orders, octets, sizeof(octets), MSG_DONTWAIT)) > 0)
                ;
        return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static bool renew(const struct engine *e) {
        static const char order = KEEPER_RENEW;

        return drop_late_answers(e) && send(e->orders, &order, 1, MSG_NOSIGNAL) == 1 &&
               get_answer(e) == 0;
}

static bool change(struct engine *e, const struct config *c) {
        char **arguments = arguments_of(e, c, is_fixed(e) || geteuid() == 0);
        bool is_same = arguments && e->arguments && is_equal(e->arguments, arguments);

        if (arguments && !is_fixed(e) && (!is_same || e->orders < 0))
                return replace(e, arguments) == 0;
        if (!arguments)
                return false;
        config_tls_free(arguments);
        if (!is_same)
                log_say(LOG_WARNING, "TLS is unchanged: the changed options of certificate and key "
                                     "need a restart");
        return renew(e);
}

bool engine_reload(struct engine *e, const struct config *c, const struct listeners *l) {
        if (check(e, c, l) != 0)
                return false;
        if (is_wanted(e, c, l))
                return change(e, c);
        forget(e);
        return true;
}

void engine_keep(struct engine *e) {
        if (e->orders < 0 || drop_late_answers(e))
                return;
        log_say(LOG_ERR, "the keeper of the TLS engine (process %d) ended", (int) e->keeper);
        fd_close(&e->orders);
        if (!is_fixed(e) && (start_keeper(e, true) == 0 || drop_late_answers(e)))
                return;
        log_say(LOG_ERR, "the TLS engine is not restarted if it ends: %s " PROGRAM,
                is_fixed(e) ? "restart" : "reload");
        fd_close(&e->orders);
        fd_close(&e->served); /* so that sessions hear of its end, and do not wait */
}

void engine_stop(struct engine *e) {
        stop_keeper(e);
        forget(e);
}
