/* deliver/program.c - run a program with a message. The contract is smtpd-exec(7). */
#include "deliver/program.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/text.h"
#include "deliver/child.h"
#include "deliver/environment.h"
#include "deliver/executable.h"
#include "deliver/verdict.h"
#include "io/deadline.h"
#include "io/fd.h"
#include "io/log.h"

static const struct fixed_reply try_again = { 451, "4.3.0", "temporary failure, try again later" };

/* --- what a running program is to us --------------------------------------------------------------------- */

enum { LINE_MAX_LENGTH = 1000, LINES_MAX = 1000, LOOK_MILLISECONDS = 5 };

struct run;

/* A pipe from the program. */
struct stream {
        int fd; /* -1 after its end */
        void (*take)(struct run *r, const char *data, size_t n);
};

struct run {
        const struct envelope *envelope;
        const struct program *program;
        const char *name;
        pid_t pid;
        int pid_fd;
        struct stream out, err;
        struct output output;
        size_t n_lines; /* of standard error, so far */
        size_t n_line;  /* octets of the one that is not complete; what does not fit is dropped */
        char line[LINE_MAX_LENGTH + 1];
        struct ending ending;
};

static void take_output(struct run *r, const char *data, size_t n) {
        output_add(&r->output, data, n);
}

static void start_log_line(const struct run *r, struct log_line *l) {
        log_start(l, "program");
        log_field(l, "id", "%s", r->envelope->id);
        log_field(l, "program", "%s", r->name);
}

static void end_line(struct run *r) {
        struct log_line l;

        r->line[r->n_line] = '\0';
        r->n_line = 0;
        r->n_lines++;
        start_log_line(r, &l);
        log_field(&l, "stderr", "%s",
                  r->n_lines < LINES_MAX ? r->line : "(there is more, which is not logged)");
        log_send(&l, LOG_NOTICE);
}

static void take_errors(struct run *r, const char *data, size_t n) {
        for (size_t i = 0; i < n && r->n_lines < LINES_MAX; i++)
                if (data[i] == '\n')
                        end_line(r);
                else if (r->n_line < LINE_MAX_LENGTH)
                        r->line[r->n_line++] = data[i] ? data[i] : '?'; /* NUL hides the rest */
}

/* Reads what there is, without waiting. false at the end, or when there is nothing now. */
static bool read_stream(struct run *r, struct stream *s) {
        char buffer[64 * 1024];
        ssize_t n;

        if (s->fd < 0)
                return false;
        n = read(s->fd, buffer, sizeof(buffer));
        if (n > 0)
                s->take(r, buffer, (size_t) n);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                fd_close(&s->fd);
        return n > 0;
}

/* The program has ended; what it wrote is in the pipes. Somebody it left behind may hold them open:
 * we do not wait. */
static void drain(struct run *r, struct stream *s) {
        for (int i = 0; i < 16 && read_stream(r, s); i++)
                ; /* a pipe holds 64 KiB */
        fd_close(&s->fd);
}

static bool has_ended(const struct run *r) {
        siginfo_t s = { 0 };

        return waitid(P_PID, (id_t) r->pid, &s, WEXITED | WNOHANG | WNOWAIT) == 0 && s.si_pid == r->pid;
}

/* If the kernel has no memory to wait with, we look from time to time. */
static int wait_blindly(struct run *r, struct patience *p, int64_t deadline) {
        const struct timespec pause = { .tv_nsec = LOOK_MILLISECONDS * 1000000L };

        nanosleep(&pause, NULL);
        read_stream(r, &r->out);
        read_stream(r, &r->err);
        if (deadline_left(deadline) == 0)
                return -ETIMEDOUT;
        return p ? patience_check(p) : 0;
}

/* Waits until the program ends: 0, or what patience_wait() returns. If there is no pidfd (an old
 * kernel, a filter of others) we look from time to time, too. */
static int wait_for_end(struct run *r, struct patience *p, int64_t deadline) {
        for (;;) {
                struct pollfd fds[] = {
                        { .fd = r->pid_fd, .events = POLLIN },
                        { .fd = r->out.fd, .events = POLLIN },
                        { .fd = r->err.fd, .events = POLLIN },
                };
                int64_t look = deadline_now() + LOOK_MILLISECONDS;
                int error = patience_wait(p, fds, ELEMENTS(fds),
                                          r->pid_fd < 0 && look < deadline ? look : deadline);
                bool is_blind = r->pid_fd < 0 || error < 0;

                if (error == -ENOMEM)
                        error = wait_blindly(r, p, deadline);
                if (fds[1].revents)
                        read_stream(r, &r->out);
                if (fds[2].revents)
                        read_stream(r, &r->err);
                if (fds[0].revents || (is_blind && has_ended(r)))
                        return 0;
                if (error < 0 && (error != -ETIMEDOUT || deadline_left(deadline) == 0))
                        return error;
        }
}

/* --- running it ------------------------------------------------------------------------------------------------ */

enum { GRACE_SECONDS = 1 }; /* from SIGTERM to SIGKILL, and from that to leaving it behind */

/* Starts the program. Returns 0 or a negative errno. */
static int start_run(struct run *r, struct child *s) {
        r->pid = child_start(s);
        r->pid_fd = r->pid > 0 ? fd_open_process(r->pid) : -1;
        return -s->error;
}

/* It may have left its group. */
static void signal_run(const struct run *r, int signal) {
        kill(-r->pid, signal);
        kill(r->pid, signal);
}

/* Whoever became another user may not hear our signals. */
static bool kill_run(struct run *r) {
        signal_run(r, SIGTERM);
        wait_for_end(r, NULL, deadline_after(GRACE_SECONDS));
        signal_run(r, SIGKILL); /* the rest of the group too */
        if (wait_for_end(r, NULL, deadline_after(GRACE_SECONDS)) == 0)
                return true;
        log_say(LOG_ERR, "cannot end %.300s (process %d): it is left behind", r->name, (int) r->pid);
        return false;
}

/* Waits for it, and kills it with all its group when its time is over. Its wait status is that of a
 * killed program if it cannot be had: no 250 comes of not knowing. */
static void end_run(struct run *r, struct patience *p, uint64_t timeout) {
        int64_t started = deadline_now();
        int wait_status = SIGKILL, n = 0;

        r->ending.error = wait_for_end(r, p, deadline_after(timeout));
        r->ending.seconds = (unsigned) ((deadline_now() - started) / 1000);
        if (r->ending.error == 0 || kill_run(r))
                while ((n = waitpid(r->pid, &wait_status, 0)) < 0 && errno == EINTR)
                        ;
        r->ending.wait_status = n == r->pid ? wait_status : SIGKILL;
}

static void close_run(struct run *r) {
        drain(r, &r->out);
        drain(r, &r->err);
        if (r->n_line > 0)
                end_line(r);
        fd_close(&r->pid_fd);
}

/* For the log: what ran, and how it ended. */
static void describe(const struct run *r, struct envelope *e) {
        int status = r->ending.wait_status, error = r->ending.error;
        bool is_exit = WIFEXITED(status);
        unsigned seconds = r->ending.seconds;
        char how[64];

        if (error < 0)
                text_format(how, sizeof(how), "%s after %u second%s",
                            error == -ECANCELED ? "stopped" : "timeout", seconds, text_plural(seconds));
        else
                text_format(how, sizeof(how), "%s %u", is_exit ? "exit" : "signal",
                            (unsigned) (is_exit ? WEXITSTATUS(status) : WTERMSIG(status)));
        text_format(e->destination, sizeof(e->destination), "%.*s %s",
                    (int) (sizeof(e->destination) - sizeof(how)), r->name, how);
}

/* Once, and not all of it. */
static void log_ignored(const struct run *r, const struct ignored *i) {
        size_t n = strlen(i->text);
        struct log_line l;

        while (n > 0 && strchr("\r\n", i->text[n - 1]))
                n--;
        start_log_line(r, &l);
        log_field(&l, "ignored", "%.*s%s", n < OUTPUT_LOGGED ? (int) n : OUTPUT_LOGGED, i->text,
                  n > OUTPUT_LOGGED || r->output.is_cut ? "..." : "");
        log_field(&l, "reason", "%s", i->reason);
        log_send(&l, i->is_invalid ? LOG_WARNING : LOG_NOTICE);
}

static void log_not_run(const char *name, const char *path, int error) {
        char reason[EXECUTABLE_REASON_MAX];

        if (executable_diagnose(name, path, error, reason))
                log_say(LOG_ERR, "cannot run %.300s: %s", name, reason);
}

static void log_duplicate(const struct run *r) {
        const struct envelope *e = r->envelope;
        struct log_line l;

        log_start(&l, "duplicate possible: the program did not end by itself, and may have "
                      "delivered the message");
        log_field(&l, "id", "%s", e->id);
        log_field(&l, "program", "%s", r->name);
        log_number(&l, "recipients", e->n_addressees);
        for (size_t i = 0; i < e->n_addressees && log_has_room(&l); i++)
                log_chosen(&l, "to", "<%s>", e->addressees[i].recipient.address.text);
        log_send(&l, LOG_WARNING);
}

/* It failed in a way that no hook chooses, and said nothing. */
static bool is_unexplained(const struct run *r, const struct reply *verdict) {
        int status = r->ending.wait_status;

        return WIFEXITED(status) && WEXITSTATUS(status) != EX_TEMPFAIL && r->ending.error == 0 &&
               r->output.n == 0 && reply_is_temporary(verdict);
}

/* The program was started, and has ended. */
static void judge(const struct run *r, const char *path, struct envelope *e, struct reply *ret) {
        struct ignored ignored;

        if (r->ending.error < 0 || WIFSIGNALED(r->ending.wait_status))
                log_duplicate(r);
        verdict_judge(r->program, &r->ending, &r->output, ret, &ignored);
        ret->by = r->program->by;
        describe(r, e);
        if (ignored.text)
                log_ignored(r, &ignored);
        else if (is_unexplained(r, ret)) /* for example, env(1) did not find the interpreter */
                log_not_run(r->name, path, 0);
}

/* --- a job ----------------------------------------------------------------------------------- */

struct program_job {
        struct program program;
        struct environment environment;
        struct child child; /* -1: a descriptor that it does not have, or no more */
        int out, err;       /* what we read from it, likewise */
        char path[PATH_MAX];
};

static int make_pipes(struct program_job *j) {
        int out[2], err[2], error;

        if ((error = fd_make_pipe(out)) < 0)
                return error;
        j->out = out[0];
        j->child.out = out[1];
        if ((error = fd_make_pipe(err)) < 0)
                return error;
        j->err = err[0];
        j->child.err = err[1];
        return 0;
}

static void close_fds_of_child(struct program_job *j) {
        fd_close(&j->child.in);
        fd_close(&j->child.out);
        fd_close(&j->child.err);
}

void program_drop(struct program_job *j) {
        if (!j)
                return;
        close_fds_of_child(j);
        fd_close(&j->out);
        fd_close(&j->err);
        environment_free(&j->environment);
        free(j);
}

static void refuse_to_run(const struct program_job *j, struct envelope *e, int error) {
        const char *name = j->program.argv[0];

        text_format(e->destination, sizeof(e->destination), "%s not run", name);
        log_not_run(name, j->child.path, -error);
}

/* false if something is missing; then `ret` is the refusal. */
static bool equip(struct program_job *j, struct envelope *e, struct message *m,
                  struct reply *ret) {
        bool is_made = environment_make(&j->environment, j->program.hostname, e, m);
        int error;

        j->child.path = executable_find(j->program.argv[0], j->path);
        j->child.argv = j->program.argv;
        j->child.environment = j->environment.vector;
        j->child.in = spool_open(&m->spool);
        if (j->child.in < 0)
                delivery_storage_verdict(j->child.in, ret);
        else if (!is_made)
                log_say(LOG_ERR, "cannot hand the message to %s: out of memory",
                        j->program.argv[0]);
        else if ((error = j->child.path ? make_pipes(j) : -ENOENT) < 0)
                refuse_to_run(j, e, error);
        else
                return true;
        return false;
}

struct program_job *program_prepare(const struct program *p, struct envelope *e, struct message *m,
                                    struct reply *ret_refusal) {
        struct program_job *j = malloc(sizeof(*j));

        reply_fix(ret_refusal, &try_again);
        if (!j) {
                log_say(LOG_ERR, "cannot hand the message to %s: out of memory", p->argv[0]);
                return NULL;
        }
        *j = (struct program_job) {
                .program = *p, .out = -1, .err = -1, .child = { .in = -1, .out = -1, .err = -1 },
        };
        if (equip(j, e, m, ret_refusal))
                return j;
        program_drop(j);
        return NULL;
}

void program_perform(struct program_job *j, struct envelope *e) {
        struct run r = {
                .envelope = e, .program = &j->program, .name = j->program.argv[0], .pid_fd = -1,
                .out = { .fd = j->out, .take = take_output },
                .err = { .fd = j->err, .take = take_errors },
        };
        int over = patience_check(e->patience), error = over == 0 ? start_run(&r, &j->child) : 0;
        struct reply verdict;

        reply_fix(&verdict, &try_again);
        j->out = j->err = -1;
        close_fds_of_child(j);
        if (r.pid > 0) {
                e->patience->stage = PATIENCE_GIVEN;
                end_run(&r, e->patience, j->program.timeout);
        }
        close_run(&r);
        if (over < 0)
                text_format(e->destination, sizeof(e->destination), "%.100s not run: %s", r.name,
                            patience_reason(over));
        else if (error < 0)
                refuse_to_run(j, e, error);
        else
                judge(&r, j->child.path, e, &verdict);
        delivery_verdict(e, &verdict);
        program_drop(j);
}

void program_run(const struct program *p, struct envelope *e, struct message *m) {
        struct reply refusal;
        struct program_job *j = program_prepare(p, e, m, &refusal);

        if (j)
                program_perform(j, e);
        else
                delivery_verdict(e, &refusal);
}
