/* fuzz/oracle.h - what a client must believe that it delivered: a second, simple reading of what it sent.
 *
 * It reads lines where the server reads octets, shares no code with it, and believes only the replies.
 */
#pragma once

#include "../transcripts/player.h"

/* The whole of what the client sent, and the log of what it heard. Aborts, after a message, if they do not fit: a reply
 * without a command, a command without a reply, a message delivered that was not sent, changed, or not delivered. */
void oracle_judge(const char *in, size_t n, const struct server_rules *rules, const struct log *log);
