/* SPDX-License-Identifier: MIT */
/* version.c - what this build can do on this system.
 *
 * A helper counts if it is found, not if it was built: each can be a package of its own.
 */
#include "version.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/array.h"
#include "base/text.h"
#include "io/helper.h"
#include "sandbox.h"

static const char *const features[] = { "journal", "maildir", "show", "tls" };

static bool is_found(const char *feature, char path[static PATH_MAX]) {
        char name[32];

        text_format(name, sizeof(name), "smtpd-%s", feature);
        return helper_find(name, path);
}

int version_print(void) {
        const char *unconfined = sandbox_missing();
        char path[PATH_MAX];

        if (!unconfined && !SANDBOX)
                unconfined = "this build has it off by default";
        fputs(PROGRAM " " VERSION, stdout);
        for (size_t i = 0; i < ELEMENTS(features); i++)
                printf(" %c%s", is_found(features[i], path) ? '+' : '-', features[i]);
        printf(" %csandbox\n", unconfined ? '-' : '+');
        for (size_t i = 0; i < ELEMENTS(features); i++)
                if (!is_found(features[i], path))
                        printf("-%s: cannot run %s\n", features[i], path);
        if (unconfined)
                printf("-sandbox: %s\n", unconfined);
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EX_IOERR;
}
