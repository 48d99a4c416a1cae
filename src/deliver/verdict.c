/* SPDX-License-Identifier: MIT */
/* deliver/verdict.c - turns the output and exit status of a program into a reply: "The verdict" in
 * smtpd-exec(7).
 *
 * A reply on standard output, or else the exit status. What seems to be a reply and is none never
 * becomes a 250: a program that prints "550-first" refuses the message.
 */
#include "deliver/verdict.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "base/array.h"

#define REPLY_FORMAT "NNN x.y.z text, with a code of 2xx, 4xx or 5xx"

static const struct fixed_reply try_again = { 451, "4.3.0", "temporary failure, try again later" };
static const struct fixed_reply stopped = { 451, "4.3.2", "shutting down, try again later" };
static const struct fixed_reply late[] = {
        { 451, "4.3.0", "the delivery program took too long, try again later" },
        { 451, "4.3.0", "the filter took too long, try again later" },
};

/* What an exit status says (sysexits.h, and qmail-command(8) for 100). Every other, and every
 * signal, is temporary: a broken program must not bounce mail. */
static const struct program_verdict verdicts[] = {
        { EX_OK, { 250, "2.0.0", "delivered" } },
        { EX_USAGE, { 554, "5.3.0", "usage error in the delivery program" } },
        { EX_DATAERR, { 554, "5.6.0", "the message's content is not acceptable" } },
        { EX_NOUSER, { 550, "5.1.1", "no such recipient" } },
        { EX_NOHOST, { 550, "5.1.2", "no such host" } },
        { EX_SOFTWARE, { 554, "5.3.0", "internal error of the delivery program" } },
        { EX_PROTOCOL, { 554, "5.5.0", "protocol error" } },
        { EX_NOPERM, { 550, "5.7.1", "not permitted" } },
        { 100, { 554, "5.0.0", "the message was refused" } },
};

/* Of one that did not end by itself, or of which nothing is known. */
static const struct fixed_reply *verdict_of_error(const struct program *p, int error) {
        if (error == -EPIPE)
                return &try_again;
        return error == -ECANCELED ? &stopped : &late[p->fields != NULL];
}

static const struct fixed_reply *verdict_of_status(const struct program *p, int wait_status) {
        const struct program_verdict *table = p->verdicts ? p->verdicts : verdicts;
        size_t n = p->verdicts ? p->n_verdicts : ELEMENTS(verdicts);

        for (size_t i = 0; i < n; i++)
                if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == table[i].status)
                        return &table[i].verdict;
        return &try_again;
}

void output_add(struct output *o, const char *data, size_t n) {
        size_t room = OUTPUT_MAX - o->n;

        o->is_cut |= n > room;
        for (size_t i = 0; i < n && i < room; i++)
                o->text[o->n++] = data[i] ? data[i] : '?'; /* a NUL would hide what is after it */
        o->text[o->n] = '\0';
}

static bool is_blank(const char *text) {
        return text[strspn(text, " \t\r\n")] == '\0';
}

/* Whether a line claims to be a reply. */
static bool begins_with_code(const char *line) {
        return strspn(line, "0123456789") >= 3;
}

static bool has_byte_order_mark(const char *line) {
        return strncmp(line, "\xef\xbb\xbf", 3) == 0;
}

static void ignore(struct ignored *i, const char *text, const char *reason) {
        *i = (struct ignored) { .text = text, .reason = reason };
}

static void refuse(struct ignored *i, const char *text, const char *reason, struct reply *ret) {
        *i = (struct ignored) { .text = text, .reason = reason, .is_invalid = true };
        reply_fix(ret, &try_again);
}

bool verdict_has_reply(const struct output *o) {
        return begins_with_code(o->text);
}

bool verdict_is_refusal(const struct output *o) {
        struct reply said;

        return reply_parse_line(o->text, strcspn(o->text, "\r\n"), &said) && said.code >= 400;
}

void verdict_take_fields(struct fields *ret, const struct printed *p, struct reply *verdict,
                         struct ignored *ret_ignored) {
        size_t used;
        const char *mistake = fields_take(ret, p, &used), *rest = p->text + used;

        *ret_ignored = (struct ignored) { 0 };
        if (mistake)
                refuse(ret_ignored, rest, mistake, verdict);
        else if (!is_blank(rest))
                ignore(ret_ignored, rest, "not a header field: it and the rest are ignored");
}

/* The reply is the first `n` octets. */
static void ignore_rest(struct ignored *i, const struct output *o, size_t n) {
        const char *rest = o->text + n;

        rest += *rest == '\r';
        rest += *rest == '\n';
        if (n > REPLY_LINE_MAX)
                ignore(i, o->text + REPLY_LINE_MAX, "a line of a reply has at most 512 octets");
        else if (!is_blank(rest))
                ignore(i, rest, "only the first line of standard output is the reply");
}

/* The first line claims to be a reply. */
static void take_reply(const struct output *o, struct reply *ret, struct ignored *i) {
        size_t n = strcspn(o->text, "\r\n");
        struct reply said;

        if (o->text[3] == '-')
                refuse(i, o->text, "not a valid reply, so 451: print one line, " REPLY_FORMAT, ret);
        else if (!reply_parse_line(o->text, n, &said) || (said.code >= 300 && said.code < 400))
                refuse(i, o->text,
                       "not a valid reply, so 451: print " REPLY_FORMAT
                       ", or print to standard error if it is none",
                       ret);
        else if (reply_is_positive(&said) && !reply_is_positive(ret))
                ignore(i, o->text, "a 2xx reply counts only with exit status 0");
        else {
                *ret = said;
                if (ret->code == 421) /* would say that we close the session */
                        ret->code = 451;
                ignore_rest(i, o, n);
        }
}

void verdict_judge(const struct program *p, const struct ending *e, const struct output *o,
                   struct reply *ret, struct ignored *ret_ignored) {
        *ret_ignored = (struct ignored) { 0 };
        reply_fix(ret, e->error < 0 ? verdict_of_error(p, e->error)
                                    : verdict_of_status(p, e->wait_status));
        if (is_blank(o->text))
                return;
        if (e->error < 0)
                ignore(ret_ignored, o->text, "the program was killed");
        else if (p->verdicts)
                ignore(ret_ignored, o->text, "the exit status counts");
        else if (begins_with_code(o->text))
                take_reply(o, ret, ret_ignored);
        else if (has_byte_order_mark(o->text) && begins_with_code(o->text + 3))
                refuse(ret_ignored, o->text, "not a valid reply, so 451: print no byte order mark",
                       ret);
        else
                ignore(ret_ignored, o->text,
                       "the first line is not a reply, so the exit status counts");
}
