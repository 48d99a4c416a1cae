/* SPDX-License-Identifier: MIT */
/* deliver/client_failure.c - what went wrong with a server: for the log, and for our client. */
#include "base/text.h"
#include "deliver/client.h"
#include "io/deadline.h"
#include "io/patience.h"

enum client_result client_fail(struct client *c, enum client_result result, const char *step,
                               const char *what) {
        int over = patience_check(client_patience(c));

        c->step = step;
        c->failure = over < 0 ? CLIENT_IN_VAIN : result;
        c->said.code = 0;
        text_format(c->why, sizeof(c->why), "%s", over < 0 ? patience_reason(over) : what);
        client_abort(c);
        return c->failure;
}

enum client_result client_refuse(struct client *c, enum client_result result, const char *step,
                                 const struct reply *reply) {
        c->step = step;
        c->failure = result;
        c->said = *reply;
        client_abort(c);
        return result;
}

void client_log_reason(const struct client *c, struct log_line *l) {
        const struct reply *r = &c->said;

        if (r->code > 0)
                log_said(l, "reply", "%u%s%s %s", (unsigned) r->code, *r->enhanced ? " " : "",
                         r->enhanced, r->text);
        else
                log_field(l, "reason", "%s", c->why);
}

void client_log(struct client *c) {
        struct log_line l;

        if (!c->step)
                return;
        log_start(&l, c->rules->name);
        log_field(&l, "endpoint", "%s", c->endpoint);
        log_field(&l, "step", "%s", c->step);
        client_log_reason(c, &l);
        log_send(&l, c->failure == CLIENT_LOCKED_OUT ? LOG_ERR : LOG_WARNING);
        c->step = NULL;
}

/* What is no fault of our client's is no word for it either. */
static bool say_our_fault(const struct client *c, struct reply *ret) {
        if (c->failure == CLIENT_INSECURE)
                reply_set(ret, 451, "4.7.5", "%s cannot be reached over TLS, try again later",
                          c->rules->title);
        else if (c->failure == CLIENT_LOCKED_OUT)
                reply_set(ret, 451, "4.7.8", "%s rejected our credentials, try again later",
                          c->rules->title);
        else
                return false;
        return true;
}

bool client_said(const struct client *c, struct reply *ret) {
        if (say_our_fault(c, ret))
                return true;
        if (c->said.code < 400)
                return false;
        *ret = c->said;
        reply_make_temporary(ret);
        return true;
}

void client_forget(struct client *c) {
        c->failure = CLIENT_OK;
        c->said.code = 0;
}

void client_log_reply(struct client *c, const char *step, const struct reply *reply) {
        c->step = step;
        c->failure = CLIENT_REFUSED;
        c->said = *reply;
        client_log(c);
        client_forget(c);
}

void client_leave_alone(const struct client *c, struct outage *o) {
        o->end = deadline_after(CLIENT_OUTAGE_SECONDS);
        if (!client_said(c, &o->reason))
                o->reason.code = 0;
}

enum client_result client_try(struct client *c, struct outage *o, unsigned index,
                              const char *endpoint, const struct client_rules *rules) {
        enum client_result r;

        if (deadline_left(o->end) > 0)
                return CLIENT_UNREACHABLE;
        r = client_open(c, index, endpoint, rules);
        client_log(c);
        if (r != CLIENT_OK && r != CLIENT_IN_VAIN)
                client_leave_alone(c, o);
        return r;
}
