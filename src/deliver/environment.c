/* deliver/environment.c - the environment of a program: the envelope, and what it inherits of ours. */
#include "deliver/environment.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/text.h"
#include "deliver/executable.h"

/* Variables that say something about us and would be wrong for a program of ours. */
static const char *const not_inherited[] = { "LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES=", "NOTIFY_SOCKET=",
                                             "WATCHDOG_PID=", "WATCHDOG_USEC=", "SMTPD_" };

enum { N_VARIABLES = 11, ENVIRONMENT_SLACK = 16 * 1024 };

static bool is_inherited(const char *variable) {
        for (size_t i = 0; i < ELEMENTS(not_inherited); i++)
                if (strncmp(variable, not_inherited[i], strlen(not_inherited[i])) == 0)
                        return false;
        return true;
}

/* What the kernel takes in the arguments and environment of a program together (execve(2)), less what we need. */
static size_t room_in_all(void) {
        static size_t room; /* does not change */
        size_t used = ENVIRONMENT_SLACK, limit;

        if (room > 0)
                return room;
        for (char **p = environ; *p; p++)
                used += strlen(*p) + 1 + sizeof(*p);
        limit = (size_t) sysconf(_SC_ARG_MAX);
        return room = limit > used ? limit - used : 1;
}

bool environment_reserve(struct environment_room *room, const struct recipient *r,
                         struct reply *ret_verdict) {
        const size_t in_one = 31UL * 4096; /* MAX_ARG_STRLEN is 32 pages, and the variable has a name */
        size_t n_addresses = room->n_addresses + strlen(r->address.text) + 1;
        size_t n_options = room->n_options + strlen(r->options) + 1;

        if (n_addresses > in_one || n_options > in_one || n_addresses + n_options > room_in_all()) {
                reply_set(ret_verdict, 452, "4.5.3", "too many recipients: send the rest in another message");
                return false;
        }
        *room = (struct environment_room) { n_addresses, n_options };
        return true;
}

static void put_text(struct environment *v, const char *text, size_t n) {
        if (v->text)
                memcpy(v->text + v->n, text, n);
        v->n += n;
}

static void put(struct environment *v, const char *name, const char *value) {
        put_text(v, name, strlen(name));
        put_text(v, "=", 1);
        put_text(v, value, strlen(value) + 1);
}

/* One of several on a line each. */
static void put_line(struct environment *v, size_t index, const char *value) {
        if (index > 0)
                put_text(v, "\n", 1);
        put_text(v, value, strlen(value));
}

/* All that the contract promises; variables without a value are there, and empty. */
static void put_variables(struct environment *v, const char *hostname, const struct envelope *e, const struct message *m) {
        char size[32];

        text_format(size, sizeof(size), "%llu", (unsigned long long) m->size);
        put(v, "SMTPD_ID", e->id);
        put(v, "SMTPD_PEER", e->peer->address);
        put(v, "SMTPD_PEER_PORT", e->peer->port);
        put(v, "SMTPD_HELO", e->helo);
        put(v, "SMTPD_PROTOCOL", e->protocol);
        put(v, "SMTPD_HOSTNAME", hostname);
        put(v, "SMTPD_MAIL_FROM", e->sender.address.text);
        put(v, "SMTPD_MAIL_OPTIONS", e->sender.options);
        put(v, "SMTPD_SIZE", size);
        put_text(v, "SMTPD_RCPT_TO=", 14);
        for (size_t i = 0; i < e->n_addressees; i++)
                put_line(v, i, e->addressees[i].recipient.address.text);
        put_text(v, "\0SMTPD_RCPT_OPTIONS=", 20);
        for (size_t i = 0; i < e->n_addressees; i++)
                put_line(v, i, e->addressees[i].recipient.options);
        put_text(v, "", 1);
}

/* The strings of `v` and the inherited ones, as execve(2) wants them; NULL when memory is out. */
static char **make_vector(struct environment *v) {
        size_t n = N_VARIABLES + 2; /* PATH, and NULL */
        char **vector;

        for (char **p = environ; *p; p++)
                n++;
        vector = calloc(n, sizeof(*vector));
        if (!vector)
                return NULL;
        n = 0;
        for (char *p = v->text; p < v->text + v->n; p += strlen(p) + 1)
                vector[n++] = p;
        for (char **p = environ; *p; p++)
                if (is_inherited(*p))
                        vector[n++] = *p;
        if (!getenv("PATH"))
                vector[n++] = (char *) "PATH=" EXECUTABLE_DEFAULT_PATH;
        return vector;
}

bool environment_make(struct environment *v, const char *hostname, const struct envelope *e, const struct message *m) {
        *v = (struct environment) { 0 };
        put_variables(v, hostname, e, m);
        v->text = malloc(v->n);
        if (!v->text)
                return false;
        v->n = 0;
        put_variables(v, hostname, e, m);
        v->vector = make_vector(v);
        return v->vector != NULL;
}

void environment_free(struct environment *v) {
        free(v->vector);
        free(v->text);
}
