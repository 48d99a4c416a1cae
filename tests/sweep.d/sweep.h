/* sweep.h - what the parts of the runner (runner.c) share: one run of smtpd, in a world of clients and servers (world.c), with
 * one thing that goes wrong (trace.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { RUN_SECONDS = 60, N_SERVERS = 2 };

/* What goes wrong in the program: at one of its system calls, or of those of its children (trace.c). */
enum fault_kind {
        FAULT_NONE = 'n',
        FAULT_LIST = 'l',        /* nothing; the calls are listed */
        FAULT_ERROR = 'e',       /* the call is not made, and returns -value */
        FAULT_LATE_ERROR = 'E',  /* the call is made, and returns -value */
        FAULT_ARGUMENT = 's',    /* argument `argument` becomes `value`, or half of what it is if that is negative */
        FAULT_KILL = 'k',        /* SIGKILL before it */
        FAULT_LATE_KILL = 'K',   /* ... after it */
        FAULT_KILL_PARENT = 'p', /* at a call of the child: SIGKILL to the program before it */
};

/* The `argument` of FAULT_ERROR: only this call, all later ones with the same first argument (a descriptor), or all. */
enum { ERROR_ONCE, ERROR_STAYS_THERE, ERROR_STAYS };

struct fault {
        enum fault_kind kind;
        int child;   /* whose call: 0 is the program's, 1 its first child's */
        long call;   /* __NR_... */
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
};

void world_listen(const char *folder, const char *upstream, char ret_names[N_SERVERS][128]);
void world_load(const char *session);
void world_play(const struct run *r, int client, int over, struct report *report);

void trace_run(struct run *r, pid_t pid, struct report *report, char **list, size_t *n_list);
