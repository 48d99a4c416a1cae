/* SPDX-License-Identifier: MIT */
/* broker/executable.c - the file of a program: finds it, and diagnoses why it cannot be executed.
 *
 * execve(2) has one errno for many mistakes: ENOENT is also a missing interpreter, EACCES also a
 * directory on the way. Here the file is looked at again: after it failed, or (for --check) before.
 */
#include "broker/executable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/text.h"
#include "io/log.h"

/* --- finding it ------------------------------------------------------------------------------- */

static const char *search_path(void) {
        const char *path = getenv("PATH");

        return path ? path : EXECUTABLE_DEFAULT_PATH;
}

static bool is_file(const char *path, int mode) {
        struct stat st;

        return access(path, mode) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool search(const char *name, int mode, char path[static PATH_MAX]) {
        size_t n;

        for (const char *p = search_path(); *p; p += n + (p[n] == ':')) {
                n = strcspn(p, ":");
                if (n > 0 &&
                    text_format(path, PATH_MAX, "%.*s/%s", (int) n, p, name) < PATH_MAX - 1 &&
                    is_file(path, mode))
                        return true;
        }
        return false;
}

const char *executable_find(const char *name, char path[static PATH_MAX]) {
        if (strchr(name, '/'))
                return name;
        return search(name, X_OK, path) || search(name, F_OK, path) ? path : NULL;
}

/* --- what is wrong with it -------------------------------------------------------------------- */

enum { HEAD_MAX = 256 }; /* what the kernel looks at: BINPRM_BUF_SIZE */

struct diagnosis {
        const char *path;
        int error; /* of execve(2); 0: nobody tried */
        char *text;
};

/* The system's word, then ours, in the words of `format`. Returns true: something was found. */
__attribute__((format(printf, 3, 4))) static bool say(struct diagnosis *d, int error,
                                                      const char *format, ...) {
        size_t n;
        va_list ap;

        text_format(d->text, EXECUTABLE_REASON_MAX, "%s (", strerror(error));
        n = strlen(d->text);
        va_start(ap, format);
        text_format_list(d->text + n, EXECUTABLE_REASON_MAX - n - 1, format, ap);
        va_end(ap);
        strcat(d->text, ")");
        return true;
}

/* Directories that ProtectHome= and PrivateTmp= hide from a service. */
static const char *const homes[] = { "/home", "/root", "/run/user", NULL };
static const char *const hidden[] = { "/home", "/root", "/run/user", "/tmp", "/var/tmp", NULL };

static bool is_below(const char *path, const char *const *directories) {
        for (size_t n; *directories; directories++) {
                n = strlen(*directories);
                if (strncmp(path, *directories, n) == 0 && (path[n] == '/' || !path[n]))
                        return true;
        }
        return false;
}

/* Calls `is_it` for each directory above a file, from the root on. Leaves the first of which it is
 * true in `ret`. */
static bool find_above(const char *path, bool is_it(const char *), char ret[static PATH_MAX]) {
        for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
                size_t n = p > path ? (size_t) (p - path) : 1;

                if (n >= PATH_MAX)
                        return false;
                *(char *) mempcpy(ret, path, n) = '\0';
                if (is_it(ret))
                        return true;
        }
        return false;
}

static bool is_locked(const char *directory) {
        return access(directory, X_OK) < 0 && errno == EACCES;
}

static bool is_missing(const char *directory) {
        return access(directory, F_OK) < 0 && errno == ENOENT;
}

/* Nothing can be known of the file: `error` is what stat(2) says of it. */
static bool diagnose_way(struct diagnosis *d, int error) {
        char directory[PATH_MAX];

        if (error == EACCES && find_above(d->path, is_locked, directory))
                return say(d, error,
                           "user %u may not search the directory %.300s: chmod a+x it, or move the "
                           "program%s",
                           (unsigned) geteuid(), directory,
                           is_below(directory, homes)
                                   ? "; ProtectHome= in a unit makes it inaccessible"
                                   : "");
        if (error == ENOENT && strpbrk(d->path, "~$"))
                return say(d, error, "no shell expands ~ and $: write them out");
        if (error == ENOENT && log_current_target() == LOG_TO_JOURNAL && is_below(d->path, hidden))
                return say(d, error, "ProtectHome= and PrivateTmp= in a unit hide such files");
        if (error == ENOENT && find_above(d->path, is_missing, directory))
                return say(d, error, "there is no directory %.300s", directory);
        strcpy(d->text, strerror(error));
        return true;
}

static bool is_noexec(const char *path) {
        struct statvfs fs;

        return statvfs(path, &fs) == 0 && fs.f_flag & ST_NOEXEC;
}

static bool diagnose_mode(struct diagnosis *d) {
        struct stat st;

        if (stat(d->path, &st) < 0)
                return diagnose_way(d, errno);
        if (S_ISDIR(st.st_mode))
                return say(d, EACCES, "a directory: name the program in it");
        if (!S_ISREG(st.st_mode))
                return say(d, EACCES, "not a regular file");
        if (is_noexec(d->path))
                return say(d, EACCES,
                           "its file system is mounted noexec: move it to another, or "
                           "name its interpreter before it");
        if (access(d->path, X_OK) == 0)
                return false;
        if (errno == EACCES && st.st_mode & 0111)
                return say(d, EACCES, "user %u may not execute it: chmod a+x %.300s",
                           (unsigned) geteuid(), d->path);
        if (errno == EACCES)
                return say(d, EACCES, "not executable: chmod +x %.300s", d->path);
        strcpy(d->text, strerror(errno));
        return true;
}

/* `name` is what env(1) is to find in $PATH: all that is after it, only with -S up to a blank. */
static bool diagnose_env(struct diagnosis *d, char *name) {
        char found[PATH_MAX];

        if (strncmp(name, "-S", 2) == 0) {
                name += 2 + strspn(name + 2, " \t");
                name[strcspn(name, " \t")] = '\0';
        }
        if (!*name || *name == '-' || strpbrk(name, "=/") || executable_find(name, found))
                return false;
        return say(d, ENOENT, "%.100s in its first line is not in PATH=%.300s", name,
                   search_path());
}

/* The interpreter that is named in the first line, and what stands after it. */
static bool diagnose_interpreter(struct diagnosis *d, const char *name, char *arguments) {
        const char *base = strrchr(name, '/');
        char path[HEAD_MAX + 1] = "/"; /* hooks run in / */
        struct stat st;

        strcpy(path + (*name != '/'), name);
        if (stat(path, &st) < 0 && !base)
                return say(d, errno,
                           "the interpreter %s in its first line does not exist: write "
                           "#!/usr/bin/env %s",
                           name, name);
        if (stat(path, &st) < 0)
                return say(d, errno, "the interpreter %s in its first line %s", name,
                           errno == ENOENT ? "does not exist: install it, or correct that line"
                                           : "cannot be reached");
        if (S_ISDIR(st.st_mode))
                return say(d, EACCES, "the interpreter %s in its first line is a directory", name);
        if (access(path, X_OK) < 0)
                return say(d, errno, "the interpreter %s in its first line is not executable",
                           name);
        return base && strcmp(base + 1, "env") == 0 && diagnose_env(d, arguments);
}

/* What stands after "#!", as a string. */
static bool diagnose_first_line(struct diagnosis *d, char *line) {
        size_t n = strcspn(line, "\n"), n_name;

        if (n > 0 && line[n] && line[n - 1] == '\r')
                return say(d, d->error ? d->error : ENOENT,
                           "its first line ends with CR LF, as on "
                           "Windows: dos2unix %.300s",
                           d->path);
        while (n > 0 && strchr(" \t", line[n - 1]))
                n--;
        line[n] = '\0';
        line += strspn(line, " \t");
        if (!*line)
                return say(d, ENOEXEC,
                           "no interpreter in its first line: write #!/bin/sh, or the "
                           "interpreter it needs");
        n_name = strcspn(line, " \t");
        n = n_name + strspn(line + n_name, " \t");
        line[n_name] = '\0';
        return diagnose_interpreter(d, line, line + n);
}

static bool begins_with(const char *head, size_t n, const char *what, size_t n_what) {
        return n >= n_what && memcmp(head, what, n_what) == 0;
}

static bool has_byte_order_mark(const char *head, size_t n) {
        return begins_with(head, n, "\xef\xbb\xbf", 3) || begins_with(head, n, "\xff\xfe", 2) ||
               begins_with(head, n, "\xfe\xff", 2);
}

/* Its first octets, as a string. What is no text may be a program of another kind (binfmt_misc). */
static bool diagnose_content(struct diagnosis *d, char *head, size_t n) {
        if (n == 0)
                return say(d, ENOEXEC, "it is empty");
        if (begins_with(head, n, "#!", 2))
                return diagnose_first_line(d, head + 2);
        if (has_byte_order_mark(head, n))
                return say(
                        d, ENOEXEC,
                        "there is a byte order mark before its #!: save it as UTF-8 without one");
        if (begins_with(head, n, "\177ELF", 4) && d->error == ENOENT)
                return say(d, ENOENT, "its dynamic loader does not exist here");
        if (begins_with(head, n, "\177ELF", 4) && d->error == ENOEXEC)
                return say(d, ENOEXEC, "incomplete, or built for another machine");
        if (d->error == ENOEXEC || (d->error == 0 && !memchr(head, '\0', n)))
                return say(d, ENOEXEC,
                           "its first line does not begin with #!: write #!/bin/sh "
                           "there, or the interpreter it needs");
        return false;
}

static bool diagnose_file(struct diagnosis *d) {
        char head[HEAD_MAX + 1];
        int fd = open(d->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        ssize_t n = fd >= 0 ? read(fd, head, HEAD_MAX) : -1;

        if (fd >= 0)
                close(fd);
        if (n < 0)
                return false;
        head[n] = '\0';
        return diagnose_content(d, head, (size_t) n);
}

static bool diagnose_name(struct diagnosis *d, const char *name) {
        bool is_here = is_file(name, F_OK);

        return say(d, ENOENT, "not found in PATH=%.300s%s%.100s", search_path(),
                   is_here ? "; for the file here: ./" : "", is_here ? name : "");
}

bool executable_diagnose(const char *name, const char *path, int error,
                         char ret[static EXECUTABLE_REASON_MAX]) {
        struct diagnosis d = { .path = path, .error = error, .text = ret };

        if (!path)
                return diagnose_name(&d, name);
        if (diagnose_mode(&d) || diagnose_file(&d))
                return true;
        if (error != 0)
                strcpy(ret, strerror(error));
        return error != 0;
}
