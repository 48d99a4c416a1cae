/* SPDX-License-Identifier: MIT */
/* deliver/mailman2.c - GNU Mailman 2.1. */
#include "deliver/mailman2.h"

#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "broker/broker.h"
#include "deliver/text.h"
#include "io/log.h"
#include "io/wall_clock.h"

/* The wrapper's exit statuses are no sysexits: 1 no such list, 2 wrong group, 3 setregid failed, 4
 * cannot execute, 5 and 6 called in a wrong way, 8 no such group. Only the first is the
 * recipient's. */
static const struct program_verdict verdicts[] = {
        { 0, { 250, "2.0.0", "accepted by the list server" } },
        { 1, { 550, "5.1.1", "no such list" } },
};

static const struct fixed_reply list_ok = { 250, "2.1.5", "list OK" };

static const struct fixed_reply no_wrapper = { 451, "4.3.0",
                                               "the list server cannot be run, try again later" };

const char *mailman2_check(const struct config *c, const char **ret_option) {
        *ret_option = c->mailman_wrapper ? "mailman-wrapper" : "mailman-lists";
        if (c->mailman_wrapper && !c->mailman_lists)
                return "mailman-wrapper needs mailman-lists=DIR";
        if (c->mailman_lists && !c->mailman_wrapper)
                return "mailman-lists needs mailman-wrapper=PROGRAM";
        if (!c->mailman || !c->mailman_wrapper)
                return NULL;
        *ret_option = "mailman";
        return "mailman makes no sense with mailman-wrapper, which is of Mailman 2.1: remove one "
               "of the two";
}

enum mailman_owner mailman2_find(const struct config *c, const struct envelope *e,
                                 const struct recipient *recipient, struct reply *ret_verdict) {
        struct answer answer;

        broker_find_list(&recipient->address, REQUEST_TO_LOOK, e->patience, &answer);
        if (answer.outcome == ANSWER_NONE)
                return MAILMAN_OTHER;
        if (answer.outcome == ANSWER_DONE) {
                reply_fix(ret_verdict, &list_ok);
                return MAILMAN_LIST;
        }
        reply_fix(ret_verdict, &mailman3_gone);
        log_say(LOG_ERR, "cannot look for lists in mailman-lists=%s: %s", c->mailman_lists,
                answer.reason);
        return MAILMAN_UNKNOWN;
}

static int append_line(struct message *m, const char *name, const char *value) {
        char line[ADDRESS_MAX + 32];
        size_t n = text_format(line, sizeof(line), "%s: %s\n", name, value);

        m->size += n + 1;
        return spool_append(&m->spool, line, n);
}

static int append_part(struct message *to, struct message *m, uint64_t from, uint64_t end) {
        const char *text;
        int64_t n;
        int r = 0;

        while (r == 0 && (n = spool_next(&m->spool, &from, end, &text)) != 0)
                r = n < 0 ? (int) n : spool_append(&to->spool, text, (size_t) n);
        return r;
}

/* The message as the wrapper gets it: as others do, and with From and Date, which Mailman needs. */
static int make_text(const struct config *c, const struct envelope *e, struct message *m,
                     struct message *ret) {
        const char *sender =
                address_is_null(&e->sender.address) ? "MAILER-DAEMON" : e->sender.address.text;
        struct trace trace;
        char date[DATE_MAX];
        int r = 0;

        text_trace(c, e, m, &trace);
        spool_init(&ret->spool);
        ret->size = text_size(m, &trace);
        if (trace.added)
                r = spool_append(&ret->spool, trace.added->text, trace.added->n);
        if (r == 0)
                r = spool_append(&ret->spool, trace.received, trace.n_received);
        if (r == 0 && m->header.n_from == 0)
                r = append_line(ret, "From", sender);
        date_format(wall_clock_seconds(), date);
        if (r == 0 && m->header.n_date == 0)
                r = append_line(ret, "Date", date);
        if (r == 0)
                r = spool_append(&ret->spool, trace.label, strlen(trace.label));
        if (r == 0)
                r = append_part(ret, m, 0, m->header.n_fields);
        if (r == 0)
                r = spool_append(&ret->spool, trace.end, trace.n_end);
        return r == 0 ? append_part(ret, m, m->header.n_fields, m->spool.size) : r;
}

/* How the wrapper ended, or why it was not run. */
static void log_failure(const struct envelope *only) {
        struct log_line l;

        log_start(&l, "Mailman");
        log_field(&l, "id", "%s", only->id);
        log_field(&l, "destination", "%s", only->destination);
        log_chosen(&l, "to", "<%s>", only->addressees[0].recipient.address.text);
        log_send(&l, LOG_WARNING);
}

static struct message text; /* of the message under way: there is one in a process */

void mailman2_end(void) {
        spool_reset(&text.spool);
}

bool mailman2_begin(const struct config *c, const struct envelope *e, struct message *m,
                    struct reply *ret) {
        int r;

        spool_init(&text.spool);
        r = make_text(c, e, m, &text);
        if (r == 0)
                return true;
        delivery_storage_verdict(r, ret);
        mailman2_end();
        return false;
}

/* Why there is no copy for a list of RCPT. */
static void refuse(const struct config *c, const struct answer *found, struct reply *ret) {
        switch ((enum answer_outcome) found->outcome) {
        case ANSWER_NONE: /* it went away */
                reply_fix(ret, &verdicts[1].verdict);
                ret->by = REPLY_BY_MAILMAN;
                break;
        case ANSWER_UNABLE:
                log_say(LOG_ERR, "cannot run mailman-wrapper=%.300s: %s", c->mailman_wrapper,
                        found->reason);
                reply_fix(ret, &no_wrapper);
                break;
        default:
                log_say(LOG_ERR, "cannot look for lists in mailman-lists=%s: %s", c->mailman_lists,
                        found->reason);
        }
}

bool mailman2_prepare(const struct config *c, const struct envelope *e, struct addressee *list,
                      struct mailman2_copy *ret) {
        const struct address *address = &list->recipient.address;
        struct answer found;

        ret->is_ready = false;
        broker_find_list(address, REQUEST_TO_RUN, e->patience, &found);
        if (found.outcome != ANSWER_DONE) {
                refuse(c, &found, &list->verdict);
                return false;
        }
        ret->envelope = *e;
        ret->envelope.addressees = list;
        ret->envelope.n_addressees = 1;
        ret->wrapper = (struct program) {
                .name = c->mailman_wrapper,
                .request = { .index = REQUEST_WRAPPER, .command = found.command },
                .timeout = c->timeout,
                .verdicts = verdicts,
                .n_verdicts = ELEMENTS(verdicts),
                .by = REPLY_BY_MAILMAN,
        };
        text_format(ret->wrapper.request.list, sizeof(ret->wrapper.request.list), "%s", found.list);
        ret->is_ready = program_check(&ret->wrapper, &ret->envelope, &text, &list->verdict);
        if (!ret->is_ready)
                log_failure(&ret->envelope);
        return ret->is_ready;
}

void mailman2_deliver(struct mailman2_copy *copy) {
        program_run(&copy->wrapper, &copy->envelope, &text);
        if (!reply_is_positive(&copy->envelope.addressees->verdict))
                log_failure(&copy->envelope);
}
