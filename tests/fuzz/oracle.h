/* SPDX-License-Identifier: MIT */
/* fuzz/oracle.h - what a client must believe that it delivered: a second, simple reading of what it
 * sent.
 *
 * It reads lines where the server reads octets, shares no code with it, and believes only the
 * replies.
 */
#pragma once

#include "../transcripts/player.h"

/* As max_size: who sets the limit is none of the oracle's business. What is not delivered must have
 * been called too big. */
#define ORACLE_ANY_SIZE UINT64_MAX

/* The whole of what the client sent, and the log of what it heard. Aborts, after a message, if they
 * do not fit: a reply without a command, a command without a reply, a message delivered that was
 * not sent, changed, or not delivered, or a line that is no command and is obeyed after a refused
 * DATA. */
void oracle_judge(const char *in, size_t n, const struct server_rules *rules,
                  const struct log *log);
