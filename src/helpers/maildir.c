/* SPDX-License-Identifier: MIT */
/* helpers/maildir.c - smtpd-maildir: the message on standard input becomes a file in a Maildir.
 *
 *     smtpd-maildir DIRECTORY [--x-peer]
 *
 * A program under the contract of smtpd-exec(7), run by strategy maildir. As in maildir(5):
 * written to tmp, on disk, then moved to new; and 250 is said when the disk has that too. Whatever
 * ends us on the way leaves no part of a message in new.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "helpers/contract.h"
#include "helpers/maildir_text.h"

enum { TRIES = 100 }; /* names, if there is one already */

struct maildir {
        const char *path; /* for people */
        int top, tmp, new;
        struct maildir_origin origin;
        char name[MAILDIR_NAME_MAX]; /* in tmp */
        /* in new. A file of another message has another inode there */
        char final[MAILDIR_NAME_MAX];
};

/* --- what went wrong -------------------------------------------------------------------------- */

static bool is_full(int error) {
        return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

/* What to do about it. */
static const char *remedy_of(int error, char room[static 96]) {
        if (error == EACCES || error == EPERM) {
                text_format(room, 96, ": user %u must be able to write there: chown or chmod it",
                            (unsigned) geteuid());
                return room;
        }
        if (error == ENOENT)
                return ": create the directory, or correct maildir=";
        if (error == ENOTDIR)
                return ": name a directory in maildir=";
        if (error == EROFS)
                return ": if a unit makes it read-only, add ReadWritePaths= there";
        return "";
}

/* Says why there is no 250. Returns the exit status. */
static int fail(const struct maildir *m, const char *verb, const char *what, int error) {
        char room[96];

        fprintf(stderr, "cannot %s %s/%s: %s%s\n", verb, m->path, what, strerror(error),
                remedy_of(error, room));
        if (is_full(error))
                return contract_reply("452 4.3.1 no space to store the message, try again later",
                                      EX_TEMPFAIL);
        return contract_reply("451 4.3.0 cannot store the message, try again later", EX_TEMPFAIL);
}

/* --- the directories -------------------------------------------------------------------------- */

static int open_directory(int at, const char *name) {
        return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* One of the three. A new one is to be there after a crash too. Returns a descriptor or -1. */
static int open_or_make(const struct maildir *m, const char *name) {
        int fd = open_directory(m->top, name);

        if (fd >= 0 || errno != ENOENT)
                return fd;
        if (mkdirat(m->top, name, 0700) < 0 && errno != EEXIST) /* others make it too */
                return -1;
        return fsync(m->top) < 0 ? -1 : open_directory(m->top, name);
}

/* Returns 0, or an exit status: it has said why. */
static int open_all(struct maildir *m) {
        int cur;

        if ((m->top = open_directory(AT_FDCWD, m->path)) < 0)
                return fail(m, "open", "", errno);
        if ((m->tmp = open_or_make(m, "tmp")) < 0)
                return fail(m, "open or create", "tmp", errno);
        if ((m->new = open_or_make(m, "new")) < 0)
                return fail(m, "open or create", "new", errno);
        if ((cur = open_or_make(m, "cur")) < 0)
                return fail(m, "open or create", "cur", errno);
        close(cur);
        return 0;
}

/* --- the file --------------------------------------------------------------------------------- */

/* A file of a name that nobody else has: the time, our process, the host. Returns a descriptor or
 * -1. */
static int make_file(struct maildir *m) {
        int fd = -1;

        m->origin = (struct maildir_origin) {
                .pid = getpid(),
                .hostname = contract_variable("SMTPD_HOSTNAME"),
        };
        for (int i = 0; fd < 0 && i < TRIES; i++) {
                clock_gettime(CLOCK_REALTIME, &m->origin.time);
                maildir_name(&m->origin, m->name);
                fd = openat(m->tmp, m->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                if (fd < 0 && errno != EEXIST)
                        break;
        }
        return fd;
}

/* 0 or an errno. */
static int name_file(struct maildir *m, int fd) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return errno;
        m->origin.inode = st.st_ino;
        maildir_name(&m->origin, m->final);
        return 0;
}

/* The file with all of the message, on disk. Returns 0 or an exit status. */
static int write_file(struct maildir *m, bool has_x_peer) {
        int fd = make_file(m), error;

        if (fd < 0)
                return fail(m, "create a file in", "tmp", errno);
        error = name_file(m, fd);
        if (error == 0)
                error = -maildir_write(fd, has_x_peer);
        if (error == 0 && fsync(fd) < 0)
                error = errno;
        if (close(fd) < 0 && error == 0)
                error = errno;
        if (error == 0)
                return 0;
        unlinkat(m->tmp, m->name, 0);
        return fail(m, "write a file in", "tmp", error);
}

/* Nobody sees it before it is whole. If its name cannot be brought to disk it is taken back: a
 * reader who was faster has it, and will have it twice. */
static int publish(const struct maildir *m) {
        int error;

        if (renameat(m->tmp, m->name, m->new, m->final) < 0) {
                error = errno;
                unlinkat(m->tmp, m->name, 0);
                return fail(m, "move a file to", "new", error);
        }
        if (fsync(m->new) < 0) {
                error = errno;
                unlinkat(m->new, m->final, 0);
                fputs("duplicate possible: the message was in new for a moment\n", stderr);
                return fail(m, "sync", "new", error);
        }
        return contract_reply("250 2.0.0 stored in the Maildir", EX_OK);
}

int main(int argc, char **argv) {
        struct maildir m = { .path = argc > 1 ? argv[1] : "" };
        bool has_x_peer = argc > 2 && strcmp(argv[2], "--x-peer") == 0;
        int status;

        if (argc < 2) {
                fputs("usage: smtpd-maildir DIRECTORY [--x-peer] (" PROGRAM " runs it)\n", stderr);
                return EX_TEMPFAIL;
        }
        signal(SIGXFSZ, SIG_IGN); /* write(2) says it, too */
        umask(077);
        if ((status = open_all(&m)) != 0 || (status = write_file(&m, has_x_peer)) != 0)
                return status;
        return publish(&m);
}
