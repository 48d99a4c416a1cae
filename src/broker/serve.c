/* SPDX-License-Identifier: MIT */
/* broker/serve.c - the broker's end. */
#include "broker/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/array.h"
#include "base/text.h"
#include "broker/child.h"
#include "broker/executable.h"
#include "broker/handover.h"
#include "broker/lists.h"
#include "broker/prologue.h"
#include "broker/run.h"
#include "broker/vector.h"
#include "broker/wire.h"
#include "io/connect.h"
#include "io/deadline.h"
#include "io/fd.h"
#include "io/log.h"
#include "io/output.h"
#include "io/served.h"
#include "io/spool.h"

/* Where the session's socket is; the other standard descriptors are /dev/null and the log. The
 * output has its number, if the program of the strategy shows messages. */
enum { SESSION = STDIN_FILENO, DESCRIPTORS = 1024, CONNECT_SECONDS = 30 };

/* What is large comes last, so that the rest fits into few pages. */
static struct {
        const struct services *services;
        struct peer peer;
        enum { PEER_KNOWN, PEER_TO_BE_NAMED } state;
        struct served served; /* where the client has found us */
        char **vector;
        struct request request;
        struct passed passed; /* the descriptors that came with it */
        bool has_engine;
        struct answer answer;
        char text[REQUEST_TEXT_MAX + 1]; /* of the request */
        char output[ANSWER_TEXT_MAX];    /* for the answer */
} b;

/* The session has been taken over, or is wrong. Either way it gets no more. */
_Noreturn static void refuse(const char *why) {
        log_say(LOG_ERR, "broker: ended because of a forbidden request: %s", why);
        _exit(EX_PROTOCOL);
}

static void fail(const char *reason) {
        b.answer.outcome = ANSWER_FAILED;
        text_format(b.answer.reason, sizeof(b.answer.reason), "%s", reason);
}

/* --- run -------------------------------------------------------------------------------------- */

/* The message, read-only and with an offset of its own. It has to be a file without a name, as
 * spools are: what has one is not the session's to give away. */
static int open_message(bool goes_on) {
        int message = b.passed.fds[0], flags = fcntl(message, F_GETFL);
        struct stat st;

        if (flags < 0 || (flags & O_ACCMODE) == O_WRONLY || flags & O_PATH ||
            fstat(message, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink > 0)
                refuse("the message is not an unnamed file");
        return goes_on ? spool_lend(message) : spool_open_again(message);
}

static void run(char *const *argv) {
        const struct services *s = b.services;
        bool is_program = argv == s->program; /* or else Mailman's wrapper */
        int message = open_message(is_program && s->is_filter);
        struct order o = {
                .argv = argv,
                .environment = b.vector,
                .id = b.text + strlen(request_variables[0]),
                .milliseconds = b.request.milliseconds,
                .message = message,
                .has_output = is_program && s->has_output,
                .session = SESSION,
        };

        if (message < 0) {
                fail(strerror(-message));
                return;
        }
        vector_set(b.vector, b.text);
        prctl(PR_SET_PDEATHSIG, 0); /* we have to end all of its group */
        run_order(&o, &b.answer, b.output);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(message);
}

/* For a list that it has, whatever the session says. */
static void run_wrapper(void) {
        const struct services *s = b.services;
        const char *command = lists_commands[b.request.command];
        char *const argv[] = { (char *) s->wrapper, (char *) command, b.request.list, NULL };
        int r = lists_has(s->lists, b.request.list);

        if (r > 0)
                run(argv);
        else
                fail(r == 0 ? "no such list" : strerror(-r));
}

static void do_run(void) {
        const char *mistake = request_check_variables(b.text, b.request.n_text);

        if (mistake)
                refuse(mistake);
        if (b.passed.n == 0)
                refuse("no message came with it");
        if (!b.vector)
                b.vector = vector_new(b.services);
        if (!b.vector)
                fail(strerror(ENOMEM));
        else if (b.request.index == REQUEST_WRAPPER)
                run_wrapper();
        else
                run(b.services->program);
}

/* --- the others ------------------------------------------------------------------------------- */

/* A session that has something to say, or is gone, ends it. Returns the connection, or -1. */
static int connect_endpoint(const char *endpoint, const char *port) {
        int64_t seconds = (b.request.milliseconds + 999) / 1000;
        struct patience p;
        const char *why;
        int fd;

        if (seconds > CONNECT_SECONDS)
                seconds = CONNECT_SECONDS;
        patience_init(&p, SESSION, -1);
        fd = connect_to(endpoint, port, (uint64_t) seconds, &p, &why);
        b.answer.outcome = ANSWER_DONE;
        if (fd < 0)
                fail(why);
        else if (served_is_reached(&b.served, fd)) {
                fail("a loop: it leads back to this server");
                fd_close(&fd);
        }
        return fd;
}

/* The result goes with the answer. */
static int prepare(const char *endpoint, int fd, int64_t deadline) {
        struct prologue_result result;

        fd = prologue_run(b.services->prologue, endpoint, fd, SESSION, deadline, &result);
        memcpy(b.output, &result, sizeof(result));
        b.answer.n_text = sizeof(result);
        if (fd < 0)
                fail(result.why);
        return fd;
}

static void log_why(struct log_line *l, const struct prologue_result *result) {
        const struct reply *said = &result->said;

        if (said->code > 0)
                log_said(l, "reply", "%u%s%s %s", (unsigned) said->code, *said->enhanced ? " " : "",
                         said->enhanced, said->text);
        else
                log_said(l, "reason", "%s", result->why);
}

/* Where TLS is a chance, not a condition, one that cannot be had leaves the way in clear (RFC
 * 7435). */
static int connect_in_clear(const char *endpoint, const char *port) {
        struct prologue_result result;
        struct log_line l;

        memcpy(&result, b.output, sizeof(result));
        if (!result.is_for_clear ||
            b.services->prologue->config->upstream_tls != UPSTREAM_TLS_OPPORTUNISTIC)
                return -1;
        log_start(&l, "no TLS with the upstream: it is asked again in plain text");
        log_field(&l, "endpoint", "%s", endpoint);
        log_why(&l, &result);
        log_send(&l, LOG_WARNING);
        b.answer.n_text = 0;
        return connect_endpoint(endpoint, port);
}

static int do_connect(void) {
        const char *port, *endpoint = request_endpoint(b.services, b.request.index, &port);
        bool is_prepared = b.services->prologue && endpoint != b.services->mailman;
        int64_t deadline = deadline_now() + b.request.milliseconds;
        int fd = connect_endpoint(endpoint, port);

        if (fd < 0 || !is_prepared)
                return fd;
        fd = prepare(endpoint, fd, deadline);
        return fd >= 0 ? fd : connect_in_clear(endpoint, port);
}

static void do_list(void) {
        int r = lists_find(b.services->lists, b.text, b.request.n_text, b.answer.list,
                           &b.answer.command);

        b.answer.outcome = r > 0 ? ANSWER_DONE : ANSWER_NONE;
        if (r < 0)
                fail(strerror(-r));
        else if (r > 0 && b.request.index == REQUEST_TO_RUN &&
                 run_check(b.services->wrapper, b.answer.reason) < 0)
                b.answer.outcome = ANSWER_UNABLE;
}

/* Once: a session has one connection. */
static void do_tls(void) {
        const char *engine = b.services->engine;
        int error;

        if (b.has_engine)
                refuse("the TLS engine was already started");
        if (b.passed.n != PASSED_MAX)
                refuse("there must be three descriptors for TLS");
        for (size_t i = 0; i < b.passed.n; i++)
                if (!handover_is_socket(b.passed.fds[i]))
                        refuse("a descriptor for TLS is not a stream socket");
        for (size_t i = 0; i < b.passed.n; i++)
                if (fd_is_outgoing(b.passed.fds[i]))
                        refuse("a descriptor for TLS is shared with others");
        error = handover_start(engine, b.services->engine_argv, &b.passed);
        b.has_engine = error == 0;
        b.answer.outcome = error == 0 ? ANSWER_DONE : ANSWER_FAILED;
        if (error < 0)
                executable_diagnose(engine, engine, -error, b.answer.reason);
}

/* The header that says it is read before the client's first octet, so a session that is taken over
 * by its client has said it already. */
static void do_peer(void) {
        if (strlen(b.text) != b.request.n_text || !peer_set_client(&b.peer, b.text))
                refuse("the peer has no address");
        b.state = PEER_KNOWN;
}

/* --- one after another ------------------------------------------------------------------------ */

static void answer(int connection) {
        const struct passed passed = { 1, { connection } };
        int r;

        wire_drop(&b.passed, 0);
        r = wire_send(SESSION, &b.answer, sizeof(b.answer), connection >= 0 ? &passed : NULL,
                      INT64_MAX);
        if (r == 0)
                r = wire_send(SESSION, b.output, b.answer.n_text, NULL, INT64_MAX);
        if (connection >= 0)
                close(connection);
        if (r < 0)
                _exit(EXIT_SUCCESS); /* nobody waits for it */
}

static void receive(void) {
        const char *mistake;

        if (wire_receive(SESSION, &b.request, sizeof(b.request), &b.passed, INT64_MAX) < 0)
                _exit(EXIT_SUCCESS);
        if ((mistake = request_check(&b.request, b.services)))
                refuse(mistake);
        if ((b.request.kind == REQUEST_PEER) != (b.state == PEER_TO_BE_NAMED))
                refuse("the peer must be named first, and only once");
        if (wire_receive(SESSION, b.text, b.request.n_text, NULL, INT64_MAX) < 0)
                _exit(EXIT_SUCCESS);
        b.text[b.request.n_text] = '\0';
        if (b.request.kind != REQUEST_TLS)
                wire_drop(&b.passed, b.request.kind == REQUEST_RUN);
}

static void serve_one(void) {
        int connection = -1;

        receive();
        b.answer = (struct answer) { 0 };
        switch ((enum request_kind) b.request.kind) {
        case REQUEST_RUN: do_run(); break;
        case REQUEST_CONNECT: connection = do_connect(); break;
        case REQUEST_LIST: do_list(); break;
        case REQUEST_TLS: do_tls(); break;
        case REQUEST_PEER: do_peer(); return;
        case REQUEST_CANCEL: return; /* what it was about has been answered meanwhile */
        }
        answer(connection);
}

/* Returns the first descriptor after those that are kept. */
static int keep_output(void) {
        if (!b.services->has_output)
                return CHILD_OUTPUT;
        if (dup2(output_fd(), CHILD_OUTPUT) < 0 || fcntl(CHILD_OUTPUT, F_SETFD, FD_CLOEXEC) < 0)
                _exit(EX_TEMPFAIL);
        return CHILD_OUTPUT + 1;
}

/* All descriptors from there on, but these two, of which each may be -1. */
static void close_others(int from, int one, int other) {
        const int kept[] = { one < other ? one : other, one < other ? other : one };

        for (size_t i = 0; i < ELEMENTS(kept); i++)
                if (kept[i] >= from) {
                        if (kept[i] > from)
                                fd_close_between((unsigned) from, (unsigned) kept[i] - 1);
                        from = kept[i] + 1;
                }
        if (fd_close_range((unsigned) from, 0) < 0)
                for (int fd = from; fd < DESCRIPTORS; fd++)
                        close(fd);
}

/* A strategy that shows messages has no upstream: the output does not take a password's place. */
static void keep_little(int session) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC), first;

        if (null < 0 || dup2(session, SESSION) < 0 || dup2(null, STDOUT_FILENO) < 0)
                _exit(EX_TEMPFAIL);
        first = keep_output();
        if (log_current_target() == LOG_TO_SYSLOG && dup2(null, STDERR_FILENO) < 0)
                _exit(EX_TEMPFAIL); /* under inetd, it is the client */
        close_others(first, b.services->prologue ? b.services->prologue->password : -1,
                     b.services->prologue ? b.services->prologue->requests : -1);
        log_open(log_current_target()); /* with a connection of its own */
}

static void ignore_signals(void) {
        signal(SIGTERM, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
}

_Noreturn void serve(const struct services *s, int session) {
        struct services ours = *s;

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a resolver may not look at the socket for long */
        ignore_signals();
        served_read(&b.served, s->client);
        b.peer = *s->peer;
        b.state = s->has_balancer ? PEER_TO_BE_NAMED : PEER_KNOWN;
        ours.peer = &b.peer;
        b.services = &ours;
        keep_little(session);
        for (;;)
                serve_one();
}
