/* SPDX-License-Identifier: MIT */
/* deliver/client_internal.h - what the parts of the client share. */
#pragma once

#include "deliver/client.h"

/* --- commands and replies --------------------------------------------------------------------- */

/* The configured seconds, or else the usual ones. */
uint64_t client_seconds(const struct client *c, uint64_t usual);

/* A command. A failure shows in the next read. */
__attribute__((format(printf, 2, 3))) void client_say(struct client *c, const char *format, ...);

/* The same, of a line that is ready. */
void client_say_octets(struct client *c, const char *octets, size_t n);
/* Octets as they are, around the channel's buffer. */
enum client_result client_send_octets(struct client *c, const char *data, size_t n);

/* Waits for octets of the server until the channel's deadline, if none are there. */
enum client_result client_fill(struct client *c, const char *step);

/* Reads one reply within `timeout` seconds, however slowly it drips. */
enum client_result client_read(struct client *c, uint64_t timeout, const char *step,
                               struct reply_parser *parser);

/* A server that closes says 421, or nothing. */
enum client_result client_heed_421(struct client *c, enum client_result r, const char *step,
                                   const struct reply *reply);

/* --- before a session has the connection ------------------------------------------------------ */

/* TLS from the next octet on, by the engine that the prologue can ask for; or first STARTTLS. The
 * connection has to begin anew then, with EHLO. `ret` has what is known of it. */
enum client_result client_secure(struct client *c, const struct prologue *p,
                                 struct prologue_result *ret);
enum client_result client_start_tls(struct client *c, const struct prologue *p,
                                    struct prologue_result *ret);

/* Who we are. */
struct client_login {
        enum upstream_auth auth;
        const char *user, *password; /* or a token */
};

/* AUTH. What it says is in no log, and in our memory only as long as it is needed. */
enum client_result client_login(struct client *c, const struct client_login *l);
