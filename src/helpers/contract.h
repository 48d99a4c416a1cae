/* SPDX-License-Identifier: MIT */
/* helpers/contract.h - our helpers' side of the contract of smtpd-exec(7). */
#pragma once

#include <stdio.h>
#include <stdlib.h>

/* The reply, on standard output. Returns the exit status to end with. */
static inline int contract_reply(const char *reply, int status) {
        puts(reply);
        fflush(stdout);
        return status;
}

/* A variable of the envelope; "" if it is not there. */
static inline const char *contract_variable(const char *name) {
        const char *value = getenv(name);

        return value ? value : "";
}
