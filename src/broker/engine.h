/* SPDX-License-Identifier: MIT */
/* broker/engine.h - reads the answer of a TLS engine: smtpd-tls(8).
 */
#pragma once

#include "io/patience.h"
#include "smtp/security.h"

/* Reads a complete answer from the control socket. Returns 0 or a negative errno (-ECONNRESET: it
 * broke off); in either case `ret_answer` has what arrived. */
int engine_read_answer(int control, struct patience *p, int64_t deadline,
                       char ret_answer[static SECURITY_ANSWER_MAX], size_t *ret_n);

/* A text for such an errno. */
const char *engine_reason(int error);
