/* SPDX-License-Identifier: MIT */
/* broker/run.h - runs a program in the broker: starts it, reads its output, and kills it at its
 * deadline. */
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

/* Checks whether a program of that name can be run now. Returns 0, or -1 and the reason. */
int run_check(const char *name, char ret_reason[static ANSWER_REASON_MAX + 1]);

/* Runs the program; the result is in `ret`, its standard output in `ret_output`. */
void run_order(const struct order *o, struct answer *ret, char ret_output[static ANSWER_TEXT_MAX]);
