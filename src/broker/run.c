/* SPDX-License-Identifier: MIT */
/* broker/run.c - runs a program in the broker. */
#include "broker/run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "broker/child.h"
#include "broker/executable.h"
#include "io/deadline.h"
#include "io/fd.h"
#include "io/log.h"
#include "io/patience.h"

enum {
        LINE_MAX_LENGTH = 1000,
        LINES_MAX = 1000,
        PIECE = 4096, /* octets that are read at once */
        GRACE = 1000, /* milliseconds from SIGTERM to SIGKILL, and from that to leaving it behind */
        GRACE_AT_CANCEL = 500,
        LOOK = 5, /* milliseconds, if there is no pidfd */
};

struct run {
        const struct order *order;
        pid_t pid;
        int pid_fd;
        int out, err; /* pipes from the program; -1 after their end */
        int error;    /* negative errno of reading what it says, 0 if that is all there */
        struct answer *answer;
        char *output;
        size_t n_lines; /* of standard error, so far */
        size_t n_line;  /* octets of the one that is not complete; what does not fit is dropped */
        char line[LINE_MAX_LENGTH + 1];
};

/* --- what it says ----------------------------------------------------------------------------- */

static void take_output(struct run *r, const char *data, size_t n) {
        size_t room = ANSWER_TEXT_MAX - r->answer->n_text;

        r->answer->is_cut |= n > room;
        n = n < room ? n : room;
        memcpy(r->output + r->answer->n_text, data, n);
        r->answer->n_text += (uint32_t) n;
}

static void end_line(struct run *r) {
        struct log_line l;

        r->line[r->n_line] = '\0';
        r->n_line = 0;
        r->n_lines++;
        log_start(&l, "program");
        log_field(&l, "id", "%.48s", r->order->id);
        log_field(&l, "program", "%s", r->order->argv[0]);
        log_field(&l, "stderr", "%s",
                  r->n_lines < LINES_MAX ? r->line : "(further lines are not logged)");
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
static bool read_stream(struct run *r, int *fd) {
        char buffer[PIECE];
        ssize_t n;

        if (*fd < 0)
                return false;
        n = read(*fd, buffer, sizeof(buffer));
        if (n > 0)
                (fd == &r->out ? take_output : take_errors)(r, buffer, (size_t) n);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return false;
        if (n < 0 && fd == &r->out)
                r->error = -errno;
        if (n <= 0)
                fd_close(fd);
        return n > 0;
}

/* The program has ended; what it wrote is in the pipes. Somebody it left behind may hold them open:
 * we do not wait. */
static void drain(struct run *r, int *fd) {
        for (int i = 0; i < 16 && read_stream(r, fd); i++)
                ; /* a pipe holds 16 pieces */
        fd_close(fd);
}

/* --- how it ends ------------------------------------------------------------------------------ */

static bool has_ended(const struct run *r) {
        siginfo_t s = { 0 };

        return waitid(P_PID, (id_t) r->pid, &s, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               s.si_pid == r->pid;
}

/* If the kernel has no memory to wait with, we look from time to time. */
static void wait_blindly(struct run *r) {
        const struct timespec pause = { .tv_nsec = LOOK * 1000000L };

        nanosleep(&pause, NULL);
        read_stream(r, &r->out);
        read_stream(r, &r->err);
}

/* Waits until the program ends: 0; or -ETIMEDOUT, or -ECANCELED when the session (-1: nobody) has
 * something to say. If there is no pidfd (an old kernel, a filter of others) we look from time to
 * time, too. */
static int wait_for_end(struct run *r, int session, int64_t deadline) {
        for (;;) {
                struct pollfd fds[] = {
                        { .fd = r->pid_fd, .events = POLLIN },
                        { .fd = r->out, .events = POLLIN },
                        { .fd = r->err, .events = POLLIN },
                        { .fd = session, .events = POLLIN },
                };
                int64_t look = r->pid_fd < 0 ? deadline_now() + LOOK : INT64_MAX;
                int error =
                        patience_wait(NULL, fds, ELEMENTS(fds), look < deadline ? look : deadline);

                if (error < 0 && error != -ETIMEDOUT)
                        wait_blindly(r);
                if (fds[1].revents)
                        read_stream(r, &r->out);
                if (fds[2].revents)
                        read_stream(r, &r->err);
                if (fds[0].revents || (error < 0 && has_ended(r)))
                        return 0;
                if (fds[3].revents)
                        return -ECANCELED;
                if (error < 0 && deadline_left(deadline) == 0)
                        return -ETIMEDOUT;
        }
}

/* It may have left its group. */
static void signal_run(const struct run *r, int signal) {
        kill(-r->pid, signal);
        kill(r->pid, signal);
}

/* A session that is gone cannot tell its client what came of it. */
static void end_with_session(const struct run *r) {
        char octet;

        if (recv(r->order->session, &octet, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
                return;
        signal_run(r, SIGKILL);
        _exit(EX_TEMPFAIL);
}

/* Whoever became another user may not hear our signals. */
static bool kill_run(struct run *r, int grace) {
        signal_run(r, SIGTERM);
        wait_for_end(r, -1, deadline_now() + grace);
        signal_run(r, SIGKILL); /* the rest of the group too */
        if (wait_for_end(r, -1, deadline_now() + grace) == 0)
                return true;
        log_say(LOG_ERR, "cannot kill %.300s (process %d): it is left behind", r->order->argv[0],
                (int) r->pid);
        return false;
}

/* Waits for it. Its wait status is that of a killed program if it cannot be had: no 250 comes of
 * not knowing. */
static void end_run(struct run *r) {
        int status = SIGKILL, n;
        int error = wait_for_end(r, r->order->session, deadline_now() + r->order->milliseconds);
        bool is_over = true;

        if (error == -ECANCELED)
                end_with_session(r);
        if (error < 0)
                is_over = kill_run(r, error == -ECANCELED ? GRACE_AT_CANCEL : GRACE);
        while ((n = waitpid(r->pid, &status, is_over ? 0 : WNOHANG)) < 0 && errno == EINTR)
                ;
        r->answer->wait_status = n == r->pid ? status : SIGKILL;
        r->answer->outcome = !is_over              ? ANSWER_SURVIVED
                             : error == 0          ? ANSWER_DONE
                             : error == -ETIMEDOUT ? ANSWER_LATE
                                                   : ANSWER_CANCELED;
}

/* --- running it ------------------------------------------------------------------------------- */

struct pipes {
        int out[2], err[2]; /* what the program writes to; -1: not there */
};

static void close_pipes(struct pipes *p) {
        for (size_t i = 0; i < 2; i++) {
                fd_close(p->out + i);
                fd_close(p->err + i);
        }
}

static int make_pipes(struct pipes *ret) {
        int r;

        *ret = (struct pipes) { { -1, -1 }, { -1, -1 } };
        r = fd_make_pipe(ret->out);
        if (r == 0)
                r = fd_make_pipe(ret->err);
        if (r < 0)
                close_pipes(ret);
        return r;
}

int run_check(const char *name, char ret_reason[static ANSWER_REASON_MAX + 1]) {
        struct pipes pipes;
        char path[PATH_MAX];
        int error = make_pipes(&pipes);

        close_pipes(&pipes);
        return executable_diagnose(name, executable_find(name, path), -error, ret_reason) ? -1 : 0;
}

/* Starts the program with pipes to us. Returns 0 or a negative errno. */
static int start_run(struct run *r, struct child *s) {
        struct pipes pipes;
        int error = make_pipes(&pipes);

        if (error < 0)
                return error;
        s->out = pipes.out[1];
        s->err = pipes.err[1];
        r->pid = child_start(s);
        r->out = pipes.out[0];
        r->err = pipes.err[0];
        pipes.out[0] = pipes.err[0] = -1; /* those stay */
        close_pipes(&pipes);
        r->pid_fd = r->pid > 0 ? fd_open_process(r->pid) : -1;
        return -s->error;
}

static void close_run(struct run *r) {
        drain(r, &r->out);
        drain(r, &r->err);
        if (r->n_line > 0)
                end_line(r);
        fd_close(&r->pid_fd);
}

/* Half of what it said may be the half without its no: it counts as killed. */
static void judge_output(const struct run *r) {
        if (r->error == 0 || r->answer->outcome != ANSWER_DONE)
                return;
        r->answer->wait_status = SIGKILL;
        log_say(LOG_ERR, "cannot read the output of %.300s: %s", r->order->argv[0],
                strerror(-r->error));
}

/* It failed in a way that no hook chooses, and said nothing: for example, env(1) did not find the
 * interpreter. */
static bool is_unexplained(const struct answer *a) {
        return a->outcome == ANSWER_DONE && WIFEXITED(a->wait_status) &&
               WEXITSTATUS(a->wait_status) != 0 && WEXITSTATUS(a->wait_status) != EX_TEMPFAIL &&
               a->n_text == 0;
}

void run_order(const struct order *o, struct answer *ret, char ret_output[static ANSWER_TEXT_MAX]) {
        struct run r = {
                .order = o, .pid_fd = -1, .out = -1, .err = -1, .answer = ret, .output = ret_output
        };
        char path[PATH_MAX];
        struct child s = {
                .path = executable_find(o->argv[0], path),
                .argv = o->argv,
                .environment = o->environment,
                .in = o->message,
                .has_output = o->has_output,
        };
        int error = s.path ? start_run(&r, &s) : -ENOENT;

        if (r.pid > 0)
                end_run(&r);
        close_run(&r);
        judge_output(&r);
        if (error < 0)
                ret->outcome = ANSWER_FAILED;
        if (error < 0 || is_unexplained(ret))
                executable_diagnose(o->argv[0], s.path, -error, ret->reason);
}
