/* SPDX-License-Identifier: MIT */
/* helpers/tls_complain.c - what is wrong with certificates and keys. */
#include "helpers/tls_complain.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "io/log.h"

static bool is_on_stdout;
static unsigned n_errors;

void tls_complain_on_stdout(void) {
        is_on_stdout = true;
}

void tls_complain(enum tls_gravity gravity, const char *format, ...) {
        char text[4096];
        va_list ap;

        va_start(ap, format);
        text_format_list(text, sizeof(text), format, ap);
        va_end(ap);
        n_errors += gravity == TLS_ERROR;
        if (is_on_stdout)
                printf("%s: %s\n", gravity == TLS_ERROR ? "error" : "warning", text);
        else
                log_say(gravity == TLS_ERROR ? LOG_ERR : LOG_WARNING, "TLS: %s", text);
}

unsigned tls_complain_errors(void) {
        return n_errors;
}

const char *tls_complain_reason(void) {
        unsigned long error = ERR_peek_error();
        const char *reason = NULL;

        if (error != 0)
                reason = ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error))
                                                 : ERR_reason_error_string(error);
        ERR_clear_error();
        return reason ? reason : "OpenSSL gives no reason";
}
