/* SPDX-License-Identifier: MIT */
/* config/again.c - reads the configuration file again. */
#include "config/again.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/read.h"
#include "io/deadline.h"
#include "io/fd.h"

enum { SECONDS = 10 };

/* Returns 0 or an errno. */
static int copy(const char *name, int to) {
        char octets[4096];
        int from = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        ssize_t n, all = 0;
        struct stat st;

        if (from < 0 || fstat(from, &st) < 0)
                return errno;
        if (S_ISFIFO(st.st_mode))
                return ESPIPE;
        while ((n = read(from, octets, sizeof(octets))) > 0 && (all += n) < READ_FILE_MAX)
                if (write(to, octets, (size_t) n) != n)
                        return ENOSPC;
        return n < 0 ? errno : n > 0 ? EFBIG : 0;
}

/* In the child: with `file` to write to and `end`, the higher one, to be noticed by when it ends.
 * It may never end, and must not keep sockets open. */
_Noreturn static void work(const char *name, int file, int end) {
        if (file > STDERR_FILENO + 1)
                fd_close_between(STDERR_FILENO + 1, (unsigned) file - 1);
        if (end > file + 1)
                fd_close_between((unsigned) file + 1, (unsigned) end - 1);
        fd_close_range((unsigned) end + 1, 0);
        _exit(copy(name, file));
}

/* Returns 0 or an errno. One that hangs is reaped later, by whoever reaps sessions. */
static int wait_for(pid_t pid, int end) {
        int64_t deadline = deadline_after(SECONDS);
        struct pollfd p = { .fd = end, .events = POLLIN };
        int status, n;

        while ((n = poll(&p, 1, deadline_left(deadline))) < 0 && errno == EINTR)
                ;
        if (n <= 0) {
                kill(pid, SIGKILL);
                waitpid(pid, NULL, WNOHANG);
                return ETIME;
        }
        if (waitpid(pid, &status, 0) < 0)
                return errno;
        return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

static int fill(const char *name, int file) {
        int end[2], error = -fd_make_pipe(end);
        pid_t pid;

        if (error)
                return error;
        pid = fork();
        if (pid == 0)
                work(name, file, end[1]);
        error = pid < 0 ? errno : 0;
        close(end[1]);
        if (!error)
                error = wait_for(pid, end[0]);
        close(end[0]);
        return error;
}

int again_open(const char *name) {
        int file, error;

        if (read_passed(name) >= 0)
                return -ESPIPE;
        file = memfd_create(PROGRAM ".conf", MFD_CLOEXEC);
        if (file < 0)
                return -errno;
        error = fill(name, file);
        if (!error && lseek(file, 0, SEEK_SET) < 0)
                error = errno;
        if (error)
                close(file);
        return error ? -error : file;
}

const char *again_why(int error) {
        switch (error) {
        case EACCES: return "Permission denied: let the user that " PROGRAM " runs as read it";
        case EFBIG: return "it must be smaller than 16 MiB";
        case ESPIPE: return "a pipe or a descriptor can be read only once: name a file";
        case ETIME: return "not read within 10 seconds: does its file system hang?";
        default: return strerror(error);
        }
}
