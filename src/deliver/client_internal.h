/* deliver/client_internal.h - what the parts of the client share: commands and replies. */
#pragma once

#include "deliver/client.h"

/* The configured seconds, or else the usual ones. */
uint64_t client_seconds(const struct client *c, uint64_t usual);

/* A command. A failure shows in the next read. */
__attribute__((format(printf, 2, 3))) void client_say(struct client *c, const char *format, ...);

/* Reads one reply within `timeout` seconds, however slowly it drips. */
enum client_result client_read(struct client *c, uint64_t timeout, const char *step,
                               struct reply_parser *parser);

/* A server that closes says 421, or nothing. */
enum client_result client_heed_421(struct client *c, enum client_result r, const char *step,
                                   const struct reply *reply);
