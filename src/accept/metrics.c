/* SPDX-License-Identifier: MIT */
/* accept/metrics.c - metrics-file: the figures in the text format of Prometheus.
 *
 * It is written without fsync(2), which could keep clients waiting: after a crash of the host
 * nobody needs what was there before. Everybody may read it, whatever our umask is: it says nothing
 * of anybody, and whoever collects it is another user.
 */
#include "accept/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "io/deadline.h"
#include "io/log.h"

enum { INTERVAL = 10 /* seconds */, TEXT_MAX = 4096, MODE = 0644 };

/* A row without help is of the same name as the one before. */
#define TURNED_AWAY(reason)                                                                        \
        { .name = "smtpd_turned_away_total", .label = "{reason=\"" reason "\"}" }
#define MESSAGES(class) { .name = "smtpd_messages_total", .label = "{class=\"" class "\"}" }

static const struct row {
        const char *name, *type, *help, *label;
} rows[] = {
        [FIGURE_STARTED] = { "smtpd_sessions_total", "counter", "Sessions started.", "" },
        [FIGURE_OPEN] = { "smtpd_sessions_open", "gauge", "Sessions running now.", "" },
        [FIGURE_FULL] = { "smtpd_turned_away_total", "counter", "Clients that got no session.",
                          "{reason=\"max-connections\"}" },
        [FIGURE_SOURCE_FULL] = TURNED_AWAY("max-connections-per-source"),
        [FIGURE_SHORTAGE] = TURNED_AWAY("shortage"),
        [FIGURE_STOPPING] = TURNED_AWAY("stopping"),
        [FIGURE_2XX] = { "smtpd_messages_total", "counter",
                         "Messages that came whole, by their best verdict.", "{class=\"2xx\"}" },
        [FIGURE_4XX] = MESSAGES("4xx"),
        [FIGURE_5XX] = MESSAGES("5xx"),
        [FIGURE_REJECTED] = { "smtpd_rejected_total", "counter",
                              "Log lines that begin with rejected.", "" },
        [FIGURE_CRASHED] = { "smtpd_session_crashes_total", "counter",
                             "Sessions ended by a signal.", "" },
};

/* Returns its length. */
static size_t format(const struct figures *f, char ret[static TEXT_MAX]) {
        size_t n = 0;

        for (enum figure i = 0; i < FIGURES; i++) {
                const struct row *r = rows + i;

                if (r->help)
                        n += text_format(ret + n, TEXT_MAX - n, "# HELP %s %s\n# TYPE %s %s\n",
                                         r->name, r->help, r->name, r->type);
                n += text_format(ret + n, TEXT_MAX - n, "%s%s %llu\n", r->name, r->label,
                                 (unsigned long long) f->n[i]);
        }
        return n;
}

/* --- the file --------------------------------------------------------------------------------- */

/* Returns 0 or an errno. */
static int write_new(const char *path, const char *text, size_t n) {
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, MODE), error = 0;
        ssize_t written;

        if (fd < 0)
                return errno;
        written = write(fd, text, n);
        if (written != (ssize_t) n)
                error = written < 0 ? errno : ENOSPC;
        else if (fchmod(fd, MODE) < 0)
                error = errno;
        if (close(fd) < 0 && !error)
                error = errno;
        return error;
}

/* Others with the same file, which is a mistake, write beside it under names of their own. */
static int replace(const char *path, const char *text, size_t n) {
        char beside[PATH_MAX];
        int error;

        if (text_format(beside, sizeof(beside), "%s.%d", path, (int) getpid()) ==
            sizeof(beside) - 1)
                return ENAMETOOLONG;
        unlink(beside); /* of somebody who was killed */
        error = write_new(beside, text, n);
        if (!error && rename(beside, path) < 0)
                error = errno;
        if (error)
                unlink(beside);
        return error;
}

static const char *remedy(int error) {
        switch (error) {
        case EACCES:
        case EPERM: return "let our user write to its directory";
        case ENOENT:
        case ENOTDIR: return "create its directory";
        case EROFS: return "in a unit, name its directory in RuntimeDirectory= or ReadWritePaths=";
        case EISDIR:
        case ENOTEMPTY: return "name a file";
        case EFBIG:
        case ENOSPC:
        case EDQUOT: return "it keeps the old metrics until there is room";
        default: return "it keeps the old metrics";
        }
}

/* That goes on failing, or does not: once. */
static void say(const struct metrics *m, int error) {
        if (error && error != m->error)
                log_say(LOG_ERR, "cannot write metrics-file=%.300s as uid %u: %s; %s", m->file,
                        (unsigned) geteuid(), strerror(error), remedy(error));
        else if (!error && m->error)
                log_say(LOG_NOTICE, "metrics-file=%.300s is written again", m->file);
}

static void write_figures(struct metrics *m, const struct figures *f) {
        char text[TEXT_MAX];
        size_t n = format(f, text);
        int error = replace(m->file, text, n);

        say(m, error);
        m->error = error;
        m->next = deadline_after(INTERVAL);
}

static bool is_wanted(const struct metrics *m) {
        return *m->file != '\0';
}

static void change(struct metrics *m, const char *file) {
        if (is_wanted(m) && !m->error)
                unlink(m->file);
        text_format(m->file, sizeof(m->file), "%s", file);
        m->next = 0;
        m->error = 0;
}

int64_t metrics_next(const struct metrics *m) {
        return is_wanted(m) ? m->next : INT64_MAX;
}

void metrics_keep(struct metrics *m, const char *file, const struct figures *f) {
        if (strcmp(m->file, file ? file : "") != 0)
                change(m, file ? file : "");
        if (deadline_now() >= metrics_next(m))
                write_figures(m, f);
}

void metrics_end(struct metrics *m, const struct figures *f) {
        if (is_wanted(m))
                write_figures(m, f);
}
