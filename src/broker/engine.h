/* SPDX-License-Identifier: MIT */
/* broker/engine.h - what a TLS engine answers: smtpd-tls(8).
 */
#pragma once

#include "io/patience.h"
#include "smtp/security.h"

/* Reads the answer on its control socket to the end. Returns 0, or a negative errno, and in any
 * case what has come; -ECONNRESET: it broke off. */
int engine_read_answer(int control, struct patience *p, int64_t deadline,
                       char ret_answer[static SECURITY_ANSWER_MAX], size_t *ret_n);

/* Such an errno in words. */
const char *engine_reason(int error);
