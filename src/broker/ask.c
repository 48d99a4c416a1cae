/* SPDX-License-Identifier: MIT */
/* broker/ask.c - the session's end: it asks, and waits as long as it has patience. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "broker/broker.h"
#include "broker/serve.h"
#include "broker/wire.h"
#include "io/deadline.h"
#include "io/log.h"

enum {
        MILLISECONDS_TO_END = 2000, /* for a request that is canceled, and for the broker at last */
        MILLISECONDS_MORE = 3000,   /* it needs those to kill a program that is late */
        MILLISECONDS_TO_LOOK = 30000, /* for a list */
};

static struct {
        int fd;
        bool is_lost; /* it does not answer, or is gone: it is not asked again */
} broker = { .fd = -1 };

int broker_start(const struct services *s) {
        int pair[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        signal(SIGCHLD, SIG_IGN); /* nobody waits for it */
        pid = fork();
        if (pid == 0)
                serve(s, pair[1]);
        close(pair[1]);
        if (pid < 0) {
                close(pair[0]);
                return -EAGAIN;
        }
        broker.fd = pair[0];
        broker.is_lost = false;
        return 0;
}

int broker_socket(void) {
        return broker.fd;
}

static int64_t soon(void) {
        return deadline_now() + MILLISECONDS_TO_END;
}

/* --- one exchange ----------------------------------------------------------------------------- */

static const char *reason_of(int error) {
        return error == -ECONNRESET || error == -EPIPE ? "it has ended"
               : error == -ETIMEDOUT                   ? "it does not answer"
                                                       : strerror(-error);
}

/* It is not asked again: what it says later would be taken for the answer to something else. */
static void lose(int error, enum answer_outcome outcome, struct answer *ret) {
        *ret = (struct answer) { .outcome = outcome };
        text_format(ret->reason, sizeof(ret->reason), "the broker is lost");
        if (!broker.is_lost)
                log_say(LOG_ERR, "cannot ask the broker, now and for the rest of the session: %s",
                        reason_of(error));
        broker.is_lost = true;
}

static int send_request(const struct request *r, const char *text, const struct passed *passed) {
        int error = wire_send(broker.fd, r, sizeof(*r), passed, soon());

        return error < 0 ? error : wire_send(broker.fd, text, r->n_text, NULL, soon());
}

/* Waits for the answer to begin. If the session may not wait so long, the broker has to make an
 * end. */
static int wait_for_answer(struct patience *p, int64_t until) {
        static const struct request cancel = { .kind = REQUEST_CANCEL };
        struct pollfd answer = { broker.fd, POLLIN, 0 };
        int error = patience_wait(p, &answer, 1, until);

        if (error == 0)
                return 0;
        error = send_request(&cancel, "", NULL);
        return error < 0 ? error : patience_wait(NULL, &answer, 1, soon());
}

static int receive_answer(struct answer *ret, char *ret_text, struct passed *ret_passed) {
        int error = wire_receive(broker.fd, ret, sizeof(*ret), ret_passed, soon());

        if (error == 0 && ret->n_text > (ret_text ? ANSWER_TEXT_MAX : 0))
                return -EPROTO;
        return error < 0 ? error : wire_receive(broker.fd, ret_text, ret->n_text, NULL, soon());
}

/* Whatever goes wrong, there is an answer: ANSWER_FAILED if the broker cannot have begun. */
static void ask(const struct request *r, const char *text, const struct passed *passed,
                struct patience *p, int64_t until, struct answer *ret, char *ret_text,
                struct passed *ret_passed) {
        int error = broker.fd < 0 || broker.is_lost ? -EPIPE : send_request(r, text, passed);

        if (error < 0) {
                lose(error, ANSWER_FAILED, ret);
                return;
        }
        error = wait_for_answer(p, until);
        if (error == 0)
                error = receive_answer(ret, ret_text, ret_passed);
        if (error < 0)
                lose(error, ANSWER_LOST, ret);
}

void broker_tell_peer(const char *client) {
        const struct request r = { .kind = REQUEST_PEER, .n_text = (uint32_t) strlen(client) };
        struct answer answer;
        int error = broker.fd < 0 ? 0 : send_request(&r, client, NULL);

        if (error < 0)
                lose(error, ANSWER_LOST, &answer);
}

static uint32_t cap(uint64_t milliseconds) {
        return milliseconds < INT_MAX ? (uint32_t) milliseconds : INT_MAX;
}

/* --- the requests ----------------------------------------------------------------------------- */

void broker_run(const struct request *r, const char *variables, int message, struct patience *p,
                struct answer *ret, char ret_output[static ANSWER_TEXT_MAX]) {
        const struct passed passed = { 1, { message } };
        struct request run = *r;

        run.kind = REQUEST_RUN;
        ask(&run, variables, &passed, p, deadline_now() + run.milliseconds + MILLISECONDS_MORE, ret,
            ret_output, NULL);
}

int broker_connect(unsigned endpoint, uint64_t milliseconds, struct patience *p,
                   struct prologue_result *ret, const char **ret_why) {
        const struct request r = { .kind = REQUEST_CONNECT,
                                   .index = endpoint,
                                   .milliseconds = cap(milliseconds) };
        static char text[ANSWER_TEXT_MAX];
        static struct answer answer;
        struct passed passed = { 0 };

        ask(&r, "", NULL, p, deadline_now() + r.milliseconds, &answer, text, &passed);
        *ret = (struct prologue_result) { 0 };
        if (answer.n_text == sizeof(*ret))
                memcpy(ret, text, sizeof(*ret));
        wire_drop(&passed, 1);
        *ret_why = *answer.reason ? answer.reason : "no descriptor left for the connection";
        return passed.n > 0 ? passed.fds[0] : -EHOSTUNREACH;
}

void broker_find_list(const struct address *a, enum request_purpose purpose, struct patience *p,
                      struct answer *ret) {
        const struct request r = { .kind = REQUEST_LIST,
                                   .index = purpose,
                                   .n_text = (uint32_t) a->n_local };

        ask(&r, a->text, NULL, p, deadline_now() + MILLISECONDS_TO_LOOK, ret, NULL, NULL);
}

bool broker_start_tls(const struct passed *p, struct answer *ret) {
        const struct request r = { .kind = REQUEST_TLS };

        ask(&r, "", p, NULL, soon(), ret, NULL, NULL);
        return ret->outcome == ANSWER_DONE;
}

/* --- the end ---------------------------------------------------------------------------------- */

void broker_stop(void) {
        struct pollfd end = { broker.fd, POLLIN, 0 };

        if (broker.fd < 0)
                return;
        shutdown(broker.fd, SHUT_WR);
        if (!broker.is_lost)
                patience_wait(NULL, &end, 1, soon());
}
