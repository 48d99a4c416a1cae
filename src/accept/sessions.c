/* SPDX-License-Identifier: MIT */
/* accept/sessions.c - the running sessions. */
#include "accept/sessions.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "io/log.h"

int sessions_make_room(struct sessions *s, size_t wanted) {
        size_t room = wanted > s->n ? wanted : s->n;
        struct served *items = reallocarray(s->items, room, sizeof(*items));

        if (!items)
                return -ENOMEM;
        s->items = items;
        s->room = room;
        return 0;
}

size_t sessions_of(const struct sessions *s, const struct source *source) {
        size_t n = 0;

        for (size_t i = 0; i < s->n; i++)
                n += source_is_equal(&s->items[i].source, source);
        return n;
}

void sessions_add(struct sessions *s, pid_t pid, const struct source *source) {
        assert(s->n < s->room);
        s->items[s->n++] = (struct served) { pid, *source };
        s->figures->n[FIGURE_STARTED]++;
        s->figures->n[FIGURE_OPEN] = s->n;
}

/* A crash, or somebody has killed it. */
static void note_death(struct sessions *s, pid_t pid, int signal) {
        s->figures->n[FIGURE_CRASHED]++;
        log_say(LOG_ERR, "the session of process %d ended by signal %d (%s)", (int) pid, signal,
                strsignal(signal));
}

static void forget(struct sessions *s, pid_t pid, int wait_status) {
        for (size_t i = 0; i < s->n; i++)
                if (s->items[i].pid == pid) {
                        s->items[i] = s->items[--s->n];
                        s->figures->n[FIGURE_OPEN] = s->n;
                        if (WIFSIGNALED(wait_status))
                                note_death(s, pid, WTERMSIG(wait_status));
                        return;
                }
}

void sessions_reap(struct sessions *s) {
        int wait_status;
        pid_t pid;

        while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
                forget(s, pid, wait_status);
}

void sessions_signal(const struct sessions *s, int signal) {
        for (size_t i = 0; i < s->n; i++)
                kill(s->items[i].pid, signal);
}
