/* SPDX-License-Identifier: MIT */
/* io/output.h - the output: where messages are shown. It is standard error; of an acceptor that was
 * told where to listen, and of its sessions, the acceptor's standard output.
 *
 * Sessions share it. A message that is begun has it for itself until its end; one that cannot be
 * written to its end is taken back where that is possible, at the end of a file. What a terminal or
 * the journal would take for orders is shown instead (base/display.h).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "io/patience.h"

/* Tells a session the number of the descriptor that its acceptor passes on. */
#define OUTPUT_VARIABLE "SMTPD_OUTPUT_FD"

/* -1 means that there is none. The name is for people. */
void output_set(int fd, const char *name);

int output_fd(void);
const char *output_name(void);

/* A message. Nothing is to be logged until it ends: standard error may be the same. */
void output_begin(struct patience *p, int64_t deadline);
void output_show(const char *data, size_t n);

/* `error` is 0, or a negative errno: why there is no more of it. Returns 0 if all of it was
 * written; or why not, -EBUSY if another message was not over at the deadline, or what
 * patience_wait() returns. */
int output_end(int error);
