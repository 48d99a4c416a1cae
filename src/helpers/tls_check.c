/* SPDX-License-Identifier: MIT */
/* helpers/tls_check.c - what is wrong with the certificates and keys, said on standard output. */
#include "helpers/tls_check.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "filter.h"
#include "helpers/tls_complain.h"
#include "helpers/tls_context.h"
#include "user.h"

int tls_check(const struct tls_options *o) {
        int r = o->user ? user_become(o->user) : 0;

        tls_complain_on_stdout();
        if (r < 0)
                tls_complain(TLS_ERROR, "cannot switch to user %s: %s", o->user,
                             r == -ENOENT ? "no such user" : strerror(-r));
        else {
                tls_context_start();
                SSL_CTX_free(tls_context_new(o));
        }
        if (filter_missing())
                tls_complain(TLS_WARNING,
                             "the processes that read from clients are not confined: %s",
                             filter_missing());
        return fflush(stdout) != 0 ? EX_TEMPFAIL : tls_complain_errors() > 0 ? EX_CONFIG : EX_OK;
}
