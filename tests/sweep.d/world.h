/* SPDX-License-Identifier: MIT */
/* world.h - what the parts of the world share: the loop (world.c), the client (client.c), and the
 * servers (servers.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "sweep.h"

struct connection {
        int fd;
        char who;     /* 'c', 'u', 'm' */
        bool is_mute; /* says no more */
        bool is_data; /* between DATA and the final dot */
        size_t n, n_out;
        char *in, out[8192];
        char sender[4096];
        size_t n_recipients, n_to;
        char to[64 * 1024]; /* the recipients, each with LF */
};

/* The loop: into the report; and what can be done with a connection. */
void put(const void *data, size_t n);
__attribute__((format(printf, 1, 2))) void put_line(const char *format, ...);
void put_octets(char kind, const void *data, size_t n);
void leave(struct connection *c);
void say(struct connection *c, const char *text, size_t n);
void drop(struct connection *c, size_t n);

/* The client. */
void begin_session(struct connection *c, unsigned long token);
bool hear_reply(struct connection *c);

/* The servers: the upstream's listener, and Mailman's. */
extern int listeners[N_SERVERS];
void greet(struct connection *c);
void flush(struct connection *c);
bool hear_message(struct connection *c);
bool hear_line(struct connection *c);
