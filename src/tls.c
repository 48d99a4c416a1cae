/* SPDX-License-Identifier: MIT */
/* tls.c - the session's end of TLS. */
#include "tls.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "broker/broker.h"
#include "broker/engine.h"
#include "broker/wire.h"
#include "io/deadline.h"
#include "io/endpoint.h"
#include "io/fd.h"
#include "io/helper.h"
#include "io/inherited.h"
#include "io/log.h"

enum {
        FAREWELL_SECONDS = 2,
        REASON_SECONDS = 1, /* more than the engine gives the client, to hear from it why */
        REQUEST_MILLISECONDS = 2000,
        ENGINE_REQUEST_MAX = 1024, /* octets */
};

enum engine {
        ENGINE_NONE,
        ENGINE_UCSPI,  /* it started us */
        ENGINE_SHARED, /* one for all sessions */
        ENGINE_OWN,    /* the broker starts one */
};

static struct {
        enum engine engine;
        char why[200]; /* ENGINE_NONE: there is none */
        int request;   /* ENGINE_SHARED: its socket */
        int control;   /* from start to end: where it answers, and what ends as it does */
        int in, out;   /* the plain side */
        bool is_spoken;
        const char *program; /* ENGINE_OWN: its path, and its arguments */
        char **argv;
} tls = { .request = -1, .control = -1, .in = -1, .out = -1 };

/* --- which engine ----------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static void find_none(const char *format, ...) {
        va_list ap;

        tls.engine = ENGINE_NONE;
        va_start(ap, format);
        text_format_list(tls.why, sizeof(tls.why), format, ap);
        va_end(ap);
}

static bool find_ucspi(void) {
        tls.control = fd_passed(INHERITED_UCSPI_CONTROL);
        tls.in = fd_passed(INHERITED_UCSPI_IN);
        tls.out = fd_passed(INHERITED_UCSPI_OUT);
        return tls.control >= 0 && tls.in >= 0 && tls.out >= 0;
}

/* The connection is one socket, as the engine has to have it. */
static bool is_socket(const struct channel *client) {
        struct stat in, out;

        return fstat(client->in, &in) == 0 && fstat(client->out, &out) == 0 &&
               S_ISSOCK(in.st_mode) && in.st_dev == out.st_dev && in.st_ino == out.st_ino;
}

/* An engine that does not come to take us is not there. Returns the socket, or a negative errno. */
static int connect_engine(const char *path) {
        const struct timeval patience = { .tv_sec = REQUEST_MILLISECONDS / 1000 };
        struct sockaddr_un address;
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), error;

        if (fd < 0 || !endpoint_local(path, &address))
                return fd < 0 ? -errno : -EINVAL;
        if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
            connect(fd, (const struct sockaddr *) &address, sizeof(address)) == 0)
                return fd;
        error = errno;
        close(fd);
        return -error;
}

static void find_shared(const struct config *c) {
        tls.engine = ENGINE_SHARED;
        tls.request = fd_passed(INHERITED_TLS);
        if (tls.request < 0 && c->tls_engine)
                tls.request = connect_engine(c->tls_engine);
        if (tls.request < 0 && c->tls_engine)
                find_none("cannot connect to tls-engine=%s: %s", c->tls_engine,
                          strerror(-tls.request));
        else if (tls.request < 0)
                find_none("$" INHERITED_TLS " is not a descriptor");
}

/* Whether it can be executed is seen then. */
static void find_own(const struct config *c) {
        static char program[PATH_MAX];

        tls.engine = ENGINE_OWN;
        helper_find("smtpd-tls", program);
        tls.program = program;
        tls.argv = config_tls_arguments(c, TLS_TASK_CONNECTION, NULL);
        if (!tls.argv)
                find_none("%s", strerror(ENOMEM));
}

static void find(const struct config *c, const struct channel *client) {
        find_none("there is no engine");
        if (find_ucspi())
                tls.engine = ENGINE_UCSPI;
        else if (!is_socket(client))
                find_none("the connection is not a socket");
        else if (getenv(INHERITED_TLS) || c->tls_engine)
                find_shared(c);
        else if (c->tls_certificate.n > 0)
                find_own(c);
}

enum server_tls tls_find(const struct config *c, const struct channel *client, bool is_transcript) {
        if (is_transcript || c->tls <= TLS_NO)
                return SERVER_NO_TLS;
        find(c, client);
        return c->tls == TLS_STARTTLS ? SERVER_TLS_OFFERED : SERVER_TLS_REQUIRED;
}

bool tls_needs_broker(void) {
        return tls.engine == ENGINE_OWN;
}

void tls_need(struct services *ret) {
        ret->engine = tls.engine == ENGINE_OWN ? tls.program : NULL;
        ret->engine_argv = tls.argv;
}

int tls_request_socket(void) {
        return tls.engine == ENGINE_SHARED ? tls.request : -1;
}

int tls_farewell_socket(void) {
        return tls.engine == ENGINE_UCSPI ? tls.out : -1;
}

/* --- asking it -------------------------------------------------------------------------------- */

/* Each returns whether it was asked; or else why not is in the log. */
static bool ask_own(const struct passed *p) {
        static struct answer answer;
        bool is_started = broker_start_tls(p, &answer);

        if (!is_started)
                log_say(LOG_ERR, "cannot run %s: %s", tls.program, answer.reason);
        return is_started;
}

static bool check_asked(int error) {
        if (error < 0)
                log_say(LOG_ERR, "cannot ask the TLS engine: %s", strerror(-error));
        return error == 0;
}

static size_t format_request(const struct config *c, const struct peer *p,
                             char ret[static ENGINE_REQUEST_MAX]) {
        char peer[PEER_TEXT_MAX + 1];

        peer_format(p, peer);
        return 1 + text_format(ret, ENGINE_REQUEST_MAX, "Y%cHOSTNAME=%s%cPEER=%s", 0, c->hostname,
                               0, peer);
}

static bool ask_shared(const struct config *c, const struct peer *p, const struct passed *passed) {
        char request[ENGINE_REQUEST_MAX];
        size_t n = format_request(c, p, request);

        return check_asked(
                wire_send(tls.request, request, n, passed, deadline_now() + REQUEST_MILLISECONDS));
}

/* The plain side becomes standard output, which the connection leaves free: it is there as standard
 * input. So a confined session can shut it down, and nothing that it shares with others. */
static int make_sides(struct channel *client, int ret_control[static 2], int ret_plain[static 2]) {
        if (client->out != client->in)
                close(client->out);
        client->out = client->patience->client = client->in;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_plain) < 0)
                return -errno;
        return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_control) < 0 ? -errno : 0;
}

static bool ask_with_sides(const struct config *c, const struct peer *p, struct channel *client) {
        int control[2] = { -1, -1 }, plain[2] = { -1, -1 }, r = make_sides(client, control, plain);
        const struct passed passed = { 3, { client->in, control[1], plain[1] } };
        bool is_started = check_asked(r) &&
                          (tls.engine == ENGINE_OWN ? ask_own(&passed) : ask_shared(c, p, &passed));

        fd_close(control + 1);
        fd_close(plain + 1);
        tls.control = control[0];
        tls.in = tls.out = plain[0];
        return is_started;
}

/* After a failure there is no engine any more: what is left is the client's connection. */
static void let_go(void) {
        if (tls.out != tls.in)
                fd_close(&tls.out);
        fd_close(&tls.in);
        fd_close(&tls.control);
        find_none("it failed before");
}

static bool ask_ucspi(void) {
        return check_asked(
                fd_write_all(tls.control, "Y", 1, deadline_now() + REQUEST_MILLISECONDS));
}

bool tls_start(const struct config *c, const struct peer *p, struct channel *client) {
        bool is_started;

        if (tls.engine == ENGINE_NONE) {
                log_say(LOG_ERR, "cannot start TLS: %s", tls.why);
                return false;
        }
        is_started = tls.engine == ENGINE_UCSPI ? ask_ucspi() : ask_with_sides(c, p, client);
        if (!is_started)
                let_go();
        return is_started;
}

/* --- its answer ------------------------------------------------------------------------------- */

bool tls_finish(struct channel *client, struct security *ret,
                char ret_reason[static SECURITY_REASON_MAX]) {
        static char answer[SECURITY_ANSWER_MAX];
        size_t n;
        int64_t deadline = deadline_after(client->timeout + REASON_SECONDS);
        int r = engine_read_answer(tls.control, client->patience, deadline, answer, &n);

        if (r < 0) {
                security_read_reason(answer, n, ret_reason);
                if (!*ret_reason)
                        text_format(ret_reason, SECURITY_REASON_MAX, "%s", engine_reason(r));
                let_go();
                return false;
        }
        security_read(ret, answer, n);
        client->wire = client->out;
        client->in = tls.in;
        client->out = client->patience->client = tls.out;
        tls.is_spoken = true;
        return true;
}

/* --- the end ---------------------------------------------------------------------------------- */

/* As long as the engine lives it hears us, also after the client has ended. Others, who
 * started us, may end with the client. */
bool tls_is_lost(void) {
        struct pollfd plain = { .fd = tls.in };

        return tls.is_spoken && tls.engine != ENGINE_UCSPI && poll(&plain, 1, 0) > 0;
}

void tls_end(const struct channel *client) {
        struct pollfd control = { .fd = tls.control };
        int64_t deadline = deadline_after(FAREWELL_SECONDS);

        if (!tls.is_spoken)
                return;
        if (client->linger_deadline < deadline)
                deadline = client->linger_deadline;
        if (shutdown(tls.out, SHUT_WR) < 0 && errno == ENOTSOCK)
                close(tls.out);
        patience_wait(NULL, &control, 1, deadline);
}
