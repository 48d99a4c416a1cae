/* SPDX-License-Identifier: MIT */
/* config/file.c - the configuration file.
 *
 *   file = *( line LF )    line = *BLANK [ name *BLANK "=" *BLANK value / "#" anything ] *BLANK
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ascii.h"
#include "config/again.h"
#include "config/read.h"

/* Without the blanks at both ends; in place. */
static char *trim(char *s, size_t n) {
        while (n > 0 && read_is_blank(s[n - 1]))
                n--;
        s[n] = '\0';
        while (read_is_blank(*s))
                s++;
        return s;
}

static void take_line(struct reading *r, char *line, size_t n, struct place place) {
        char *name, *value, *equals;
        const struct option *o;

        if (memchr(line, '\0', n)) {
                read_complain(r, place, "has a NUL octet: this is not a text file");
                return;
        }
        name = trim(line, n);
        if (*name == '\0' || *name == '#')
                return;
        equals = strchr(name, '=');
        value = equals ? trim(equals + 1, strlen(equals + 1)) : NULL;
        name = trim(name, equals ? (size_t) (equals - name) : strlen(name));
        o = options_find(name, strlen(name));
        if (!o)
                read_complain_unknown(r, place, "", name, strlen(name));
        else if (!options_is_for_file(o))
                read_complain(r, place, "%s: allowed on the command line only", o->name);
        else if (!value)
                read_complain(r, place, "%s needs a value: write %s=%s", o->name, o->name,
                              o->syntax);
        else
                read_value(r, o, value, place);
}

int read_passed(const char *name) {
        static const char passed[] = "/dev/fd/";
        size_t n = sizeof(passed) - 1;
        uint64_t fd;

        if (strncmp(name, passed, n) == 0 && ascii_parse_number(name + n, INT_MAX, &fd))
                return (int) fd;
        return -1;
}

/* A descriptor or a negative errno. */
static int open_file(const char *name, bool is_reload) {
        int fd = read_passed(name);

        if (is_reload)
                return again_open(name);
        if (fd < 0)
                fd = open(name, O_RDONLY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* What a file says. Most need no heap, and stdio(3) would be a part of each session's start. */
struct text {
        char room[4096], *octets;
        size_t n;
};

static void free_text(struct text *t) {
        if (t->octets != t->room)
                free(t->octets);
}

/* All of the file, and room for one octet more. 0 or a negative errno; the text is to be freed in
 * any case. */
static int read_text(int fd, struct text *t) {
        size_t room = sizeof(t->room);
        ssize_t k;

        t->octets = t->room;
        for (t->n = 0; (k = read(fd, t->octets + t->n, room - t->n)) != 0;) {
                if (k < 0 && errno != EINTR)
                        return -errno;
                t->n += k > 0 ? (size_t) k : 0;
                if (t->n == room) {
                        char *more = room < READ_FILE_MAX ? malloc(2 * room) : NULL;

                        if (!more)
                                return room < READ_FILE_MAX ? -ENOMEM : -EFBIG;
                        memcpy(more, t->octets, t->n);
                        free_text(t);
                        t->octets = more;
                        room *= 2;
                }
        }
        return 0;
}

static void take_lines(struct reading *r, struct text *t, struct place place) {
        for (char *line = t->octets, *end = t->octets + t->n; line < end;) {
                char *line_end = memchr(line, '\n', (size_t) (end - line));
                size_t n = (size_t) ((line_end ? line_end : end) - line);

                place.line++;
                take_line(r, line, n, place);
                line += n + 1;
        }
}

bool read_file(struct reading *r, const char *name, bool must_exist) {
        int fd = open_file(name, r->config->is_reload), error;
        struct place place = { name, 0 };
        struct text t;

        if (fd < 0 && (must_exist || fd != -ENOENT)) {
                read_complain(r, place, "cannot be opened: %s", again_why(-fd));
                r->is_incomplete = true;
        }
        if (fd < 0)
                return false;
        error = -read_text(fd, &t);
        if (error) {
                read_complain(r, place, "cannot be read: %s", again_why(error));
                r->is_incomplete = true;
        }
        if (!error)
                take_lines(r, &t, place);
        free_text(&t);
        close(fd);
        return true;
}
