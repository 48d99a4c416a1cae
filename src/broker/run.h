/* SPDX-License-Identifier: MIT */
/* broker/run.h - the broker runs a program: starts it, reads what it says, ends it in time. */
#pragma once

#include "broker/request.h"

struct order {
        char *const *argv;
        char *const *environment;
        const char *id;        /* of the message, for the log */
        uint32_t milliseconds; /* until it is killed, with its process group */
        int message;           /* its standard input */
        bool has_output;       /* as descriptor 3 */
        int session;           /* something to read there: cancel; its end: kill all, and end too */
};

/* Looks whether a program of that name can be run now. Returns 0, or -1 and why not. */
int run_check(const char *name, char ret_reason[static ANSWER_REASON_MAX + 1]);

/* What came of it; its standard output is in `ret_output`. */
void run_order(const struct order *o, struct answer *ret, char ret_output[static ANSWER_TEXT_MAX]);
