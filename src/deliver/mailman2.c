/* deliver/mailman2.c - GNU Mailman 2.1. */
#include "deliver/mailman2.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/ascii.h"
#include "base/text.h"
#include "deliver/executable.h"
#include "deliver/text.h"
#include "io/log.h"

/* The commands of the wrapper that have an address LIST-COMMAND of their own; that of "post" is
 * LIST. */
static const char *const commands[] = { "admin", "bounces", "confirm",   "join",       "leave",
                                        "owner", "request", "subscribe", "unsubscribe" };

/* The wrapper's exit statuses are no sysexits: 1 no such list, 2 wrong group, 3 setregid failed, 4
 * cannot execute, 5 and 6 called in a wrong way, 8 no such group. Only the first is the
 * recipient's. */
static const struct program_verdict verdicts[] = {
        { 0, { 250, "2.0.0", "taken by the list server" } },
        { 1, { 550, "5.1.1", "no such list" } },
};

static const struct fixed_reply no_wrapper = {
        451, "4.3.0", "the list server cannot be run, try again later"
};

/* A name that Mailman allows (ACCEPTABLE_LISTNAME_CHARACTERS) in lower case, or false: "/" and ".."
 * lead elsewhere. */
static bool copy_name(const char *s, size_t n, char ret[static MAILMAN2_NAME_MAX + 1]) {
        if (n == 0 || n > MAILMAN2_NAME_MAX || s[0] == '.')
                return false;
        for (size_t i = 0; i < n; i++) {
                char c = ascii_lower(s[i]);

                if (!ascii_is_alnum(c) && (c == '\0' || !strchr("-+_.=", c)))
                        return false;
                ret[i] = c;
        }
        ret[n] = '\0';
        return true;
}

/* 1 or 0, or a negative errno where that cannot be found out. */
static int is_list(const char *lists, const char *name) {
        static const char *const files[] = { "config.pck", "config.pck.last", "config.db",
                                             "config.db.last" };

        for (size_t i = 0; i < ELEMENTS(files); i++) {
                char path[PATH_MAX];

                if (text_format(path, sizeof(path), "%s/%s/%s", lists, name, files[i]) ==
                    sizeof(path) - 1)
                        return -ENAMETOOLONG;
                if (access(path, F_OK) == 0)
                        return 1;
                if (errno != ENOENT && errno != ENOTDIR)
                        return -errno;
        }
        return 0;
}

/* NAME is a list, or LIST-COMMAND. */
static int find_name(const char *lists, const char *name, struct mailman2_target *ret) {
        const char *dash = strrchr(name, '-');
        int r;

        strcpy(ret->list, name);
        ret->command = "post";
        if ((r = is_list(lists, name)) != 0)
                return r;
        for (size_t i = 0; dash && dash > name && i < ELEMENTS(commands); i++)
                if (strcmp(dash + 1, commands[i]) == 0) {
                        ret->list[dash - name] = '\0';
                        ret->command = commands[i];
                        return is_list(lists, ret->list);
                }
        return 0;
}

int mailman2_find(const char *lists, const struct address *a, struct mailman2_target *ret) {
        bool is_quoted = a->n_local >= 2 && a->text[0] == '"';
        const char *local = a->text + is_quoted;
        size_t n = a->n_local - 2U * is_quoted;
        char name[MAILMAN2_NAME_MAX + 1];
        int r = copy_name(local, n, name) ? find_name(lists, name, ret) : 0;

        while (r == 0 && n > 0) /* LIST-confirm+TOKEN, LIST-bounces+user=host; and a list may be
                                   called "c++" */
                if (local[--n] == '+' && copy_name(local, n, name))
                        r = find_name(lists, name, ret);
        return r == 0 && access(lists, X_OK) < 0 ? -errno
                                                 : r; /* without the directory nothing is known */
}

/* --- delivery --------------------------------------------------------------------------------- */

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
        int r;

        text_trace(c, e, m, &trace);
        spool_init(&ret->spool);
        ret->size = text_size(m, &trace);
        r = spool_append(&ret->spool, trace.received, trace.n_received);
        if (r == 0 && m->header.n_from == 0)
                r = append_line(ret, "From", sender);
        date_format(time(NULL), date);
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
        log_field(&l, "endpoint", "%s", only->destination);
        log_chosen(&l, "to", "<%s>", only->addressees[0].recipient.address.text);
        log_send(&l, LOG_WARNING);
}

static struct message text; /* of the message under way: there is one in a process */

static bool check_wrapper(const char *wrapper, struct reply *ret) {
        char path[PATH_MAX], reason[EXECUTABLE_REASON_MAX];

        if (!executable_diagnose(wrapper, executable_find(wrapper, path), 0, reason))
                return true;
        log_say(LOG_ERR, "cannot run mailman-wrapper=%.300s: %s", wrapper, reason);
        reply_fix(ret, &no_wrapper);
        return false;
}

void mailman2_end(void) {
        spool_reset(&text.spool);
}

bool mailman2_begin(const struct config *c, const struct envelope *e, struct message *m,
                    struct reply *ret) {
        int r;

        spool_init(&text.spool);
        if (!check_wrapper(c->mailman_wrapper, ret))
                return false;
        r = make_text(c, e, m, &text);
        if (r == 0)
                return true;
        delivery_storage_verdict(r, ret);
        mailman2_end();
        return false;
}

bool mailman2_prepare(const struct config *c, const struct envelope *e, struct addressee *list,
                      struct mailman2_copy *ret) {
        int r = mailman2_find(c->mailman_lists, &list->recipient.address, &ret->target);

        ret->job = NULL;
        if (r == 0) { /* it went away since RCPT */
                reply_fix(&list->verdict, &verdicts[1].verdict);
                list->verdict.by = REPLY_BY_MAILMAN;
        } else if (r < 0)
                log_say(LOG_ERR, "cannot look for lists in mailman-lists=%s: %s", c->mailman_lists,
                        strerror(-r));
        if (r <= 0)
                return false;
        ret->envelope = *e;
        ret->envelope.addressees = list;
        ret->envelope.n_addressees = 1;
        ret->argv[0] = c->mailman_wrapper;
        ret->argv[1] = (char *) ret->target.command;
        ret->argv[2] = ret->target.list;
        ret->argv[3] = NULL;
        ret->job = program_prepare(
                &(const struct program) {
                        .argv = ret->argv,
                        .hostname = c->hostname,
                        .timeout = c->timeout,
                        .verdicts = verdicts,
                        .n_verdicts = ELEMENTS(verdicts),
                        .by = REPLY_BY_MAILMAN,
                },
                &ret->envelope, &text, &list->verdict);
        if (!ret->job)
                log_failure(&ret->envelope);
        return ret->job != NULL;
}

void mailman2_deliver(struct mailman2_copy *copy) {
        program_perform(copy->job, &copy->envelope);
        copy->job = NULL;
        if (!reply_is_positive(&copy->envelope.addressees[0].verdict))
                log_failure(&copy->envelope);
}

void mailman2_drop(struct mailman2_copy *copy) {
        program_drop(copy->job);
        copy->job = NULL;
}
