/* SPDX-License-Identifier: MIT */
/* io/output.h - the output: where messages are printed. It is standard error, or with --listen the
 * acceptor's standard output.
 *
 * Sessions share it, and lock it for each message. If a message cannot be written completely and
 * the output is a file, it is truncated to where the message began. Control characters are made
 * safe for a terminal and the journal (base/display.h).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "io/patience.h"

/* The environment variable with the number of the descriptor that the acceptor passes to a session.
 */
#define OUTPUT_VARIABLE "SMTPD_OUTPUT_FD"

/* Sets the output; -1: there is none. The name is for error messages. */
void output_set(int fd, const char *name);

int output_fd(void);
const char *output_name(void);

/* Begins a message and writes parts of it. Nothing may be logged until output_end(): standard error
 * may be the same file. */
void output_begin(struct patience *p, int64_t deadline);
void output_show(const char *data, size_t n);

/* Ends a message. `error` is 0, or the negative errno that cut it short. Returns 0 if all of it was
 * written; otherwise a negative errno: -EBUSY if another message held the lock until the deadline,
 * or what patience_wait() returned. */
int output_end(int error);
