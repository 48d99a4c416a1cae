/* SPDX-License-Identifier: MIT */
/* sweep.h - what the parts of the runner (runner.c) share: one run of smtpd, in a world of clients
 * and servers (world.c), with one thing that goes wrong (trace.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { RUN_SECONDS = 60, N_SERVERS = 2 };

/* What goes wrong in the program: at one of its system calls, or of those of its children
 * (faults.c). */
enum fault_kind {
        FAULT_NONE = 'n',
        FAULT_LIST = 'l',       /* nothing; the calls are listed */
        FAULT_ERROR = 'e',      /* the call is not made, and returns -value */
        FAULT_LATE_ERROR = 'E', /* the call is made, and returns -value */
        /* argument `argument` becomes `value`, or half of what it is if that is negative */
        FAULT_ARGUMENT = 's',
        FAULT_KILL = 'k',        /* SIGKILL before it */
        FAULT_LATE_KILL = 'K',   /* ... after it */
        FAULT_KILL_PARENT = 'p', /* at a call of the child: SIGKILL to the program before it */
        FAULT_WAIT = 'w',        /* at a wait: `argument` is what happens then, of enum at_wait */
};

/* At a wait, together as one likes. */
enum at_wait {
        /* the client is gone: it resets its connection, or closes a local one */
        WAIT_LEAVE = 1,
        /* it closes it: over TCP it may still be reading, as far as anybody can tell */
        WAIT_CLOSE = 2,
        WAIT_STOP = 4,      /* SIGTERM to the session and its broker, as systemd does */
        WAIT_STOP_SOON = 8, /* SIGUSR1 to the session, as the acceptor does */
        /* client and servers say no more; a program that runs is stopped, and each that begins */
        WAIT_MUTE = 16,
        WAIT_FROZEN = 32, /* ... and hear nothing until the session is over */
        /* like WAIT_MUTE, but the client goes on, and from the wait before: the answer to what
         * is asked between the two does not come, but may have been on its way with the others */
        WAIT_HUSHED = 64,
};

/* The `argument` of FAULT_ERROR: only this call, all later ones with the same first argument (a
 * descriptor), or all. */
enum { ERROR_ONCE, ERROR_STAYS_THERE, ERROR_STAYS };

struct fault {
        enum fault_kind kind;
        int child;   /* whose call: 0 is the program's, 1 its first child's */
        long call;   /* __NR_..., of FAULT_WAIT any that waits */
        long number; /* which of its calls of that, from 1 */
        int argument;
        long value;
};

/* What goes wrong in the world: somebody vanishes when so many octets were said. */
enum cut_how { CUT_CLOSE = 'c', CUT_RESET = 'r', CUT_HALF = 'h', CUT_SILENT = 's' };

struct cut {
        char who;      /* 'c'lient, 'u'pstream, 'm'ailman, or '-' */
        long at;       /* octets */
        int how;       /* enum cut_how */
        bool is_eager; /* as soon as they were said; else when the next would be */
        bool is_gone;  /* a server: does not come back for another connection */
};

/* A growing text that world and runner share. */
struct report {
        volatile int is_sending; /* the world has begun to send, and not finished */
        volatile int at_wait;    /* what the world has to do now, of enum at_wait; 0 when it has */
        size_t n;
        char text[16 * 1024 * 1024];
};

struct run {
        unsigned long token;
        struct fault fault;
        struct cut cut;
        char alloc[32]; /* for failmalloc.so; "-" is nothing */

        /* the outcome */
        bool is_reached;
        bool is_hung, has_leaked;
        int wait_status;
        long ms;
        long ms_left; /* from what happened at a wait to the end of session and broker */
};

void world_listen(const char *folder, const char *upstream, char ret_names[N_SERVERS][128]);
void world_load(const char *session);
void world_play(const struct run *r, int client, int over, int event, struct report *report);

void trace_run(struct run *r, pid_t pid, int event, struct report *report, char **list,
               size_t *n_list);
long now(void);
