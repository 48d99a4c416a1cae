/* accept/status.c - what the service manager shows of us. */
#include "accept/status.h"

#include <unistd.h>

#include "base/text.h"
#include "io/deadline.h"
#include "io/notify.h"

enum { PAUSE = 1000 }; /* milliseconds between two words to the service manager */

void status_count(struct status *s) {
        char octets[4096];
        ssize_t n;

        while ((n = read(s->counter, octets, sizeof(octets))) > 0)
                s->n_messages += (uint64_t) n;
        s->is_new = true;
}

void status_say(struct status *s, bool is_stopping, size_t n_sessions) {
        if (!s->is_new || deadline_now() < s->next)
                return;
        notify_status("%s%zu session%s, %llu message%s", is_stopping ? "stopping: " : "",
                      n_sessions, text_plural(n_sessions), (unsigned long long) s->n_messages,
                      text_plural(s->n_messages));
        s->is_new = false;
        s->next = deadline_now() + PAUSE;
}
