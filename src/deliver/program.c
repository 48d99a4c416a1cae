/* SPDX-License-Identifier: MIT */
/* deliver/program.c - have the broker run a program with a message. The contract is smtpd-exec(7).
 */
#include "deliver/program.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "broker/broker.h"
#include "deliver/environment.h"
#include "deliver/verdict.h"
#include "io/deadline.h"
#include "io/log.h"

static const struct fixed_reply try_again = { 451, "4.3.0", "temporary failure, try again later" };

struct run {
        const struct program *program;
        struct envelope *envelope;
        struct answer answer;
        struct output output;
        struct ending ending;
        const char *printed; /* all of its output: answer.n_text octets, and a NUL */
};

static bool is_filter(const struct program *p) {
        return p->fields != NULL;
}

/* For the log: what ran, and how it ended. */
static void describe(const struct run *r) {
        int status = r->ending.wait_status, error = r->ending.error;
        unsigned seconds = r->ending.seconds;
        struct envelope *e = r->envelope;
        char how[64];

        if (r->answer.outcome == ANSWER_LOST)
                text_format(how, sizeof(how), "lost");
        else if (error < 0)
                text_format(how, sizeof(how), "%s after %u second%s",
                            error == -ETIMEDOUT || error == -ETIME ? "timeout" : "stopped", seconds,
                            text_plural(seconds));
        else
                text_format(
                        how, sizeof(how), "%s %u", WIFEXITED(status) ? "exit" : "signal",
                        (unsigned) (WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)));
        text_format(e->destination, sizeof(e->destination), "%.*s %s",
                    (int) (sizeof(e->destination) - sizeof(how)), r->program->name, how);
}

static void start_log_line(const struct run *r, const char *what, struct log_line *l) {
        log_start(l, what);
        log_field(l, "id", "%s", r->envelope->id);
        log_field(l, "program", "%s", r->program->name);
}

/* Once, and not all of it. */
static void log_ignored(const struct run *r, const struct ignored *i) {
        size_t n = strlen(i->text);
        struct log_line l;

        while (n > 0 && strchr("\r\n", i->text[n - 1]))
                n--;
        start_log_line(r, "program", &l);
        log_field(&l, "ignored", "%.*s%s", n < OUTPUT_LOGGED ? (int) n : OUTPUT_LOGGED, i->text,
                  n > OUTPUT_LOGGED || r->output.is_cut ? "..." : "");
        log_field(&l, "reason", "%s", i->reason);
        log_send(&l, i->is_invalid ? LOG_WARNING : LOG_NOTICE);
}

static void log_not_run(const struct run *r) {
        log_say(LOG_ERR, "cannot run %.300s: %s", r->program->name, r->answer.reason);
}

static void log_duplicate(const struct run *r) {
        const struct envelope *e = r->envelope;
        struct log_line l;

        start_log_line(
                r, "duplicate possible: the program was killed, and may have delivered the message",
                &l);
        log_number(&l, "recipients", e->n_addressees);
        for (size_t i = 0; i < e->n_addressees && log_has_room(&l); i++)
                if (!e->addressees[i].is_held)
                        log_chosen(&l, "to", "<%s>", e->addressees[i].recipient.address.text);
        log_send(&l, LOG_WARNING);
}

static void take_fields(const struct run *r, struct reply *verdict, struct ignored *ret_ignored) {
        const struct printed printed = {
                .text = r->printed,
                .n = r->answer.n_text,
                .is_cut = r->answer.is_cut,
                .has_reply = verdict_has_reply(&r->output),
        };

        verdict_take_fields(r->program->fields, &printed, verdict, ret_ignored);
}

/* The program was started, and has ended, as far as we know. */
static void judge(const struct run *r, struct reply *ret) {
        struct ignored ignored;

        if (!is_filter(r->program) && (r->ending.error < 0 || WIFSIGNALED(r->ending.wait_status)))
                log_duplicate(r);
        verdict_judge(r->program, &r->ending, &r->output, ret, &ignored);
        if (is_filter(r->program) && reply_is_positive(ret))
                take_fields(r, ret, &ignored);
        ret->by = r->ending.error < 0 ? REPLY_BY_US : r->program->by;
        describe(r);
        if (ignored.text)
                log_ignored(r, &ignored);
        else if (*r->answer.reason && reply_is_temporary(ret))
                log_not_run(r);
}

/* Why it did not end by itself; 0: it did. */
static int error_of(const struct answer *a, struct patience *p) {
        int over = patience_check(p);

        if (a->outcome == ANSWER_DONE)
                return 0;
        if (a->outcome == ANSWER_LOST)
                return -EPIPE;
        return over < 0 ? over : -ETIMEDOUT;
}

/* One that was told to end and did so by itself, saying that it does not have the message, is
 * believed: nobody has it. */
static bool has_refused(const struct run *r) {
        bool was_told = r->answer.outcome == ANSWER_LATE || r->answer.outcome == ANSWER_CANCELED;

        return was_told && WIFEXITED(r->answer.wait_status) && verdict_is_refusal(&r->output);
}

static uint32_t milliseconds_of(const struct program *p, const struct envelope *e) {
        int64_t left = patience_deadline(e->patience) - deadline_now();
        int64_t most = p->timeout < INT_MAX / 1000 ? (int64_t) p->timeout * 1000 : INT_MAX;

        return (uint32_t) (left < 0 ? 0 : left < most ? left : most);
}

static void run(const struct program *p, struct envelope *e, int message,
                const struct environment *v, struct reply *ret) {
        static char output[ANSWER_TEXT_MAX + 1];
        static struct run r;
        struct request request = p->request;
        int64_t started = deadline_now(), had;

        r = (struct run) { .program = p, .envelope = e, .printed = output };
        request.n_text = (uint32_t) v->n;
        request.milliseconds = milliseconds_of(p, e);
        if (!is_filter(p))
                e->patience->stage = PATIENCE_GIVEN;
        broker_run(&request, v->text, message, e->patience, &r.answer, output);
        output[r.answer.n_text] = '\0';
        output_add(&r.output, output, r.answer.n_text);
        r.output.is_cut |= r.answer.is_cut;
        had = deadline_now() - started;
        if (had > request.milliseconds) /* the rest went by in killing it */
                had = request.milliseconds;
        r.ending = (struct ending) {
                .wait_status = r.answer.wait_status,
                .error = has_refused(&r) ? 0 : error_of(&r.answer, e->patience),
                .seconds = (unsigned) ((had + 500) / 1000),
        };
        if (r.answer.outcome == ANSWER_FAILED) {
                text_format(e->destination, sizeof(e->destination), "%s not run", p->name);
                log_not_run(&r);
        } else
                judge(&r, ret);
}

static struct environment environment; /* large */

bool program_check(const struct program *p, const struct envelope *e, struct message *m,
                   struct reply *ret_refusal) {
        int message = spool_file(&m->spool);

        reply_fix(ret_refusal, &try_again);
        if (message < 0)
                delivery_storage_verdict(message, ret_refusal);
        else if (!environment_make(&environment, e, m))
                log_say(LOG_ERR, "cannot hand the message to %s: its envelope is too long",
                        p->name);
        else
                return true;
        return false;
}

void program_ask(const struct program *p, struct envelope *e, struct message *m,
                 struct reply *ret) {
        int over = patience_check(e->patience);

        if (is_filter(p))
                p->fields->n = 0;
        if (program_check(p, e, m, ret) && over == 0)
                run(p, e, spool_file(&m->spool), &environment, ret);
        if (over < 0)
                text_format(e->destination, sizeof(e->destination), "%.100s not run: %s", p->name,
                            patience_reason(over));
}

void program_run(const struct program *p, struct envelope *e, struct message *m) {
        struct reply verdict;

        program_ask(p, e, m, &verdict);
        delivery_verdict(e, &verdict);
}

/* --- the command line ------------------------------------------------------------------------- */

bool program_make_absolute(const char *path, char ret[static PATH_MAX]) {
        size_t n = 0;

        if (*path == '/')
                return text_format(ret, PATH_MAX, "%s", path) < PATH_MAX - 1;
        if (!getcwd(ret, PATH_MAX))
                return false;
        n = strlen(ret);
        return text_format(ret + n, PATH_MAX - n, "/%s", path) < PATH_MAX - n - 1;
}

size_t program_count_words(char *const *command) {
        size_t n = 0;

        while (command[n])
                n++;
        return n;
}

void program_make_argv(char *const *command, char **ret_argv, char ret_path[static PATH_MAX]) {
        memcpy(ret_argv, command, (program_count_words(command) + 1) * sizeof(*command));
        if (strchr(command[0], '/') && *command[0] != '/' &&
            program_make_absolute(command[0], ret_path))
                ret_argv[0] = ret_path;
}
