/* SPDX-License-Identifier: MIT */
/* broker/lists.c - looks up lists of GNU Mailman 2.1. */
#include "broker/lists.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/ascii.h"
#include "base/text.h"

enum { POST };

/* Each has an address LIST-COMMAND of its own, but for "post", whose address is LIST. */
const char *const lists_commands[LISTS_COMMANDS] = {
        [POST] = "post", "admin", "bounces", "confirm",   "join",
        "leave",         "owner", "request", "subscribe", "unsubscribe",
};

/* What Mailman allows (ACCEPTABLE_LISTNAME_CHARACTERS): "/" and ".." lead elsewhere. */
bool lists_is_name(const char *name, size_t n) {
        if (n == 0 || n > LISTS_NAME_MAX || name[0] == '.')
                return false;
        for (size_t i = 0; i < n; i++) {
                char c = name[i];

                if (c != ascii_lower(c) ||
                    (!ascii_is_alnum(c) && (c == '\0' || !strchr("-+_.=", c))))
                        return false;
        }
        return true;
}

static bool copy_name(const char *s, size_t n, char ret[static LISTS_NAME_MAX + 1]) {
        if (n > LISTS_NAME_MAX)
                return false;
        for (size_t i = 0; i < n; i++)
                ret[i] = ascii_lower(s[i]);
        ret[n] = '\0';
        return lists_is_name(ret, n);
}

int lists_has(const char *lists, const char *name) {
        static const char *const files[] = { "config.pck", "config.pck.last", "config.db",
                                             "config.db.last" };

        for (size_t i = 0; i < ELEMENTS(files); i++) {
                char path[PATH_MAX];

                if (text_format(path, sizeof(path), "%s/%s/%s", lists, name, files[i]) ==
                    sizeof(path) - 1)
                        return -ENAMETOOLONG;
                if (access(path, F_OK) == 0)
                        return 1;
                if (errno != ENOENT && errno != ENOTDIR)
                        return -errno;
        }
        return 0;
}

/* NAME is a list, or LIST-COMMAND. */
static int find_name(const char *lists, const char *name, char *ret_list, uint32_t *ret_command) {
        const char *dash = strrchr(name, '-');
        int r;

        strcpy(ret_list, name);
        *ret_command = POST;
        if ((r = lists_has(lists, name)) != 0)
                return r;
        for (uint32_t i = POST + 1; dash && dash > name && i < LISTS_COMMANDS; i++)
                if (strcmp(dash + 1, lists_commands[i]) == 0) {
                        ret_list[dash - name] = '\0';
                        *ret_command = i;
                        return lists_has(lists, ret_list);
                }
        return 0;
}

int lists_find(const char *lists, const char *local, size_t n,
               char ret_list[static LISTS_NAME_MAX + 1], uint32_t *ret_command) {
        bool is_quoted = n >= 2 && local[0] == '"';
        char name[LISTS_NAME_MAX + 1];
        int r;

        local += is_quoted;
        n -= is_quoted ? 2 : 0;
        r = copy_name(local, n, name) ? find_name(lists, name, ret_list, ret_command) : 0;
        /* LIST-confirm+TOKEN, LIST-bounces+user=host; and a list may be called "c++" */
        while (r == 0 && n > 0)
                if (local[--n] == '+' && copy_name(local, n, name))
                        r = find_name(lists, name, ret_list, ret_command);
        /* without the directory nothing is known */
        return r == 0 && access(lists, X_OK) < 0 ? -errno : r;
}
