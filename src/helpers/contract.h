/* SPDX-License-Identifier: MIT */
/* helpers/contract.h - the helpers' side of the contract in smtpd-exec(7). */
#pragma once

#include <stdio.h>
#include <stdlib.h>

/* Prints the reply on standard output. Returns `status`, the exit status. */
static inline int contract_reply(const char *reply, int status) {
        puts(reply);
        fflush(stdout);
        return status;
}

/* A variable of the envelope; "" if it is not set. */
static inline const char *contract_variable(const char *name) {
        const char *value = getenv(name);

        return value ? value : "";
}
