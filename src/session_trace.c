/* SPDX-License-Identifier: MIT */
/* session_trace.c - trace=yes: what is said in a session, in the log. */
#include <string.h>

#include "io/log.h"
#include "session_log.h"

/* Not a part of its caller, which is asked at each step: lines have large buffers, and the compiler
 * clears them (-ftrivial-auto-var-init). */
__attribute__((noinline)) static void trace_command(struct session_log *s) {
        struct log_line l;
        size_t n;
        const char *command = server_command(s->server, &n);

        s->n_traced = s->server->n_commands;
        log_start(&l, "trace");
        log_peer(&l, s->peer);
        log_chosen(&l, "command", "%.*s", (int) n, command);
        log_send(&l, LOG_DEBUG);
}

void session_log_trace_command(struct session_log *s) {
        if (s->config->trace && s->n_traced != s->server->n_commands)
                trace_command(s);
}

static void trace_line(const struct session_log *s, const char *line, size_t n) {
        struct log_line l;

        log_start(&l, "trace");
        log_peer(&l, s->peer);
        log_said(&l, "reply", "%.*s", (int) n, line);
        log_send(&l, LOG_DEBUG);
}

void session_log_trace_reply(const struct session_log *s, const char *wire, size_t n) {
        for (const char *line = wire, *cr; s->config->trace && line < wire + n; line = cr + 2) {
                cr = memchr(line, '\r', (size_t) (wire + n - line));
                trace_line(s, line, (size_t) (cr - line));
        }
}
