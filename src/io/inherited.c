/* SPDX-License-Identifier: MIT */
/* io/inherited.c - inherited descriptors. */
#include "io/inherited.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/ascii.h"
#include "io/fd.h"
#include "io/notify.h"
#include "io/output.h"

int inherited_count(void) {
        const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
        uint64_t number, n;

        if (!pid || !fds || !ascii_parse_number(pid, INT_MAX, &number) ||
            number != (uint64_t) getpid())
                return 0;
        return ascii_parse_number(fds, INT_MAX - LISTEN_PASSED, &n) ? (int) n : 0;
}

enum { NONE = INT_MAX };

/* The number in a text, if it is one, and not below `from`; else NONE. */
static int number_from(const char *text, int from) {
        uint64_t number;

        if (!text || !ascii_parse_number(text, INT_MAX, &number) || (int) number < from)
                return NONE;
        return (int) number;
}

static int lower(int a, int b) {
        return a < b ? a : b;
}

/* The lowest number of those that we were told of, not below `from`; or NONE. */
static int next_told(char **argv, int from) {
        static const char *const variables[] = {
                NOTIFY_COUNTER,         OUTPUT_VARIABLE,     INHERITED_TLS,
                INHERITED_UPSTREAM_TLS, INHERITED_PASSWORD,  INHERITED_UCSPI_CONTROL,
                INHERITED_UCSPI_IN,     INHERITED_UCSPI_OUT,
        };
        int next = NONE;

        for (size_t i = 0; i < ELEMENTS(variables); i++)
                next = lower(next, number_from(getenv(variables[i]), from));
        for (; *argv; argv++) {
                const char *name = strstr(*argv, "fd/"); /* /dev/fd/N, /proc/self/fd/N */

                next = lower(next, name ? number_from(name + 3, from) : NONE);
        }
        return next;
}

void inherited_close(char **argv) {
        int first = LISTEN_PASSED + inherited_count(), told;

        while ((told = next_told(argv, first)) != NONE) {
                if (told > first)
                        fd_close_between((unsigned) first, (unsigned) told - 1);
                first = told + 1;
        }
        fd_close_range((unsigned) first, 0);
}
