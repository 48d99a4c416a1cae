/* accept/status.h - what the service manager shows of us: how many sessions run, and how many
 * messages they have accepted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct status {
        int counter;      /* a pipe that does not block: an octet is a message */
        uint64_t n_messages;
        bool is_new;      /* the service manager does not know it yet */
        int64_t next;     /* the earliest time to say it */
};

/* Counts what sessions have written. */
void status_count(struct status *s);

/* Tells the service manager, if there is something new and the last time is a while ago. */
void status_say(struct status *s, bool is_stopping, size_t n_sessions);
