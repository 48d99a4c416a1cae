/* SPDX-License-Identifier: MIT */
/* io/helper.c - finds the helper programs that a session or the acceptor starts. */
#include "io/helper.h"

#include <string.h>
#include <unistd.h>

#include "base/text.h"

bool helper_find(const char *name, char ret[static PATH_MAX]) {
        ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - strlen(name) - 1);

        if (n > 0) {
                ret[n] = '\0';
                strcpy(strrchr(ret, '/') + 1, name);
                if (access(ret, X_OK) == 0)
                        return true;
        }
        text_format(ret, PATH_MAX, LIBEXECDIR "/%s", name);
        return access(ret, X_OK) == 0;
}
