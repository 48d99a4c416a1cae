/* SPDX-License-Identifier: MIT */
/* smtp/command.c - the arguments of MAIL and RCPT. RFC 5321 sections 4.1.1.2, 4.1.1.3, 4.1.1.11;
 * RFC 3461 section 4 (DSN).
 *
 *   MAIL args  = "FROM:" *SP Path [ SP parameters ]
 *   RCPT args  = "TO:" *SP Path [ SP parameters ]
 *   parameters = parameter *( SP parameter )
 *   parameter  = keyword [ "=" value ]
 *   keyword    = ( ALPHA / DIGIT ) *( ALPHA / DIGIT / "-" )
 *   value      = 1*( %d33-60 / %d62-126 )
 */
#include "smtp/command.h"

#include <string.h>

#include "base/array.h"
#include "base/ascii.h"

/* --- parameters ------------------------------------------------------------------------------- */

struct value {
        const char *text; /* not terminated; NULL where the parameter has no "=" */
        size_t n;
};

static bool value_is(const struct value *v, const char *word) {
        return v->text && v->n == strlen(word) && ascii_is_equal(v->text, word, v->n);
}

/* 1*20DIGIT, RFC 1870 section 6; more than 64 bits hold is as much as they hold. */
static bool take_size(struct sender *s, const struct value *v) {
        if (!v->text || v->n > 20)
                return false;
        for (size_t i = 0; i < v->n; i++) {
                unsigned digit = (unsigned) (v->text[i] - '0');

                if (digit > 9)
                        return false;
                s->size = s->size > (UINT64_MAX - digit) / 10 ? UINT64_MAX : s->size * 10 + digit;
        }
        return true;
}

static bool take_body(struct sender *s, const struct value *v) {
        s->is_8bit = value_is(v, "8BITMIME");
        return s->is_8bit || value_is(v, "7BIT");
}

static bool take_smtputf8(struct sender *s, const struct value *v) {
        s->is_smtputf8 = true;
        return !v->text;
}

static bool take_prdr(struct sender *s, const struct value *v) {
        s->is_prdr = true;
        return !v->text;
}

static bool is_hex(char c) {
        return ascii_is_digit(c) || (c >= 'A' && c <= 'F');
}

/* RFC 3461 section 4. is_value() has seen the octets. */
static bool is_xtext(const char *s, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (s[i] == '+' && (n - i < 3 || !is_hex(s[i + 1]) || !is_hex(s[i + 2])))
                        return false;
        return n > 0;
}

/* AUTH, whose "<>" is xtext too, and ENVID. They stay among the options, as all do that others
 * obey. */
static bool take_xtext(struct sender *s, const struct value *v) {
        (void) s;
        return v->text && is_xtext(v->text, v->n);
}

static bool take_ret(struct sender *s, const struct value *v) {
        (void) s;
        return value_is(v, "FULL") || value_is(v, "HDRS");
}

/* NEVER, or any of the others with commas between them. */
static bool take_notify(struct sender *s, const struct value *v) {
        static const char *const words[] = { "SUCCESS", "FAILURE", "DELAY" };
        struct value rest = *v;

        (void) s;
        if (value_is(v, "NEVER"))
                return true;
        while (rest.text) {
                const char *comma = memchr(rest.text, ',', rest.n);
                struct value word = { rest.text, comma ? (size_t) (comma - rest.text) : rest.n };
                bool is_known = false;

                for (size_t i = 0; i < ELEMENTS(words); i++)
                        is_known |= value_is(&word, words[i]);
                if (!is_known || !comma)
                        return is_known;
                rest = (struct value) { comma + 1, rest.n - word.n - 1 };
        }
        return false;
}

/* A type of address, which is an atom, and the address. */
static bool take_orcpt(struct sender *s, const struct value *v) {
        const char *semicolon = v->text ? memchr(v->text, ';', v->n) : NULL;
        size_t n = semicolon ? (size_t) (semicolon - v->text) : 0;

        (void) s;
        for (size_t i = 0; i < n; i++)
                if (strchr("()<>@,:\\\".[]+", v->text[i]))
                        return false;
        return n > 0 && is_xtext(semicolon + 1, v->n - n - 1);
}

static const struct parameter {
        const char *keyword;
        enum { OF_MAIL, OF_RCPT } of;
        unsigned extension; /* which has to be offered for it; 0: it is always */
        bool (*take)(struct sender *s, const struct value *v); /* s is NULL for RCPT */
        const char *syntax;
} parameters[] = {
        { "SIZE", OF_MAIL, 0, take_size, "SIZE=octets" },
        { "BODY", OF_MAIL, EXTENSION_8BITMIME, take_body, "BODY=7BIT or BODY=8BITMIME" },
        { "SMTPUTF8", OF_MAIL, EXTENSION_SMTPUTF8, take_smtputf8, "SMTPUTF8 without a value" },
        { "AUTH", OF_MAIL, EXTENSION_AUTH, take_xtext, "AUTH=address in xtext, or AUTH=<>" },
        { "PRDR", OF_MAIL, EXTENSION_PRDR, take_prdr, "PRDR without a value" },
        { "RET", OF_MAIL, EXTENSION_DSN, take_ret, "RET=FULL or RET=HDRS" },
        { "ENVID", OF_MAIL, EXTENSION_DSN, take_xtext, "ENVID=xtext" },
        { "NOTIFY", OF_RCPT, EXTENSION_DSN, take_notify,
          "NOTIFY=NEVER or NOTIFY=SUCCESS,FAILURE,DELAY" },
        { "ORCPT", OF_RCPT, EXTENSION_DSN, take_orcpt, "ORCPT=type;address in xtext" },
};

static const struct parameter *find_parameter(const char *keyword, size_t n, bool is_rcpt,
                                              unsigned extensions) {
        for (const struct parameter *p = parameters; p < parameters + ELEMENTS(parameters); p++)
                if (strlen(p->keyword) == n && ascii_is_equal(p->keyword, keyword, n) &&
                    (p->of == OF_RCPT) == is_rcpt)
                        return (extensions & p->extension) == p->extension ? p : NULL;
        return NULL;
}

static bool is_keyword(const char *s, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (!ascii_is_alnum(s[i]) && (s[i] != '-' || i == 0))
                        return false;
        return n > 0;
}

static bool is_value(const struct value *v) {
        for (size_t i = 0; i < v->n; i++)
                if (v->text[i] <= ' ' || v->text[i] == '=' || v->text[i] > '~')
                        return false;
        return !v->text || v->n > 0;
}

/* Takes "KEYWORD" or "KEYWORD=value". `sender` is NULL for RCPT. */
static bool take_parameter(const char *s, size_t n, unsigned extensions, struct sender *sender,
                           unsigned *seen, struct reply *ret_reply) {
        const char *equals = memchr(s, '=', n);
        size_t n_keyword = equals ? (size_t) (equals - s) : n;
        struct value value = { equals ? equals + 1 : NULL, equals ? n - n_keyword - 1 : 0 };
        const struct parameter *p;

        if (!is_keyword(s, n_keyword) || !is_value(&value)) {
                reply_set(ret_reply, 501, "5.5.4",
                          "malformed parameter: use KEYWORD or KEYWORD=value");
                return false;
        }
        p = find_parameter(s, n_keyword, !sender, extensions);
        if (!p) {
                reply_set(ret_reply, 555, "5.5.4",
                          "parameter %.*s not recognized or not implemented",
                          (int) (n_keyword < 40 ? n_keyword : 40), s);
                return false;
        }
        if (*seen & 1U << (p - parameters)) {
                reply_set(ret_reply, 501, "5.5.4", "parameter %s given twice", p->keyword);
                return false;
        }
        *seen |= 1U << (p - parameters);
        if (!p->take(sender, &value)) {
                reply_set(ret_reply, 501, "5.5.4", "bad value: use %s", p->syntax);
                return false;
        }
        return true;
}

static bool take_parameters(const char *s, size_t n, const struct command_rules *rules,
                            struct sender *sender, char options[static OPTIONS_MAX + 1],
                            struct reply *ret_reply) {
        size_t at = 0, n_options = 0;
        unsigned seen = 0;

        options[0] = '\0';
        while (at < n) {
                const char *blank = memchr(s + at, ' ', n - at);
                size_t word = blank ? (size_t) (blank - s) - at : n - at;

                /* cppcheck-suppress knownConditionTrueFalse ; it is 0 between two blanks */
                if (word > 0) {
                        if (!rules->is_extended) {
                                reply_set(ret_reply, 501, "5.5.4", "parameters need EHLO");
                                return false;
                        }
                        if (n_options + (n_options > 0) + word > OPTIONS_MAX) {
                                reply_set(ret_reply, 501, "5.5.4",
                                          "parameters longer than %d octets", OPTIONS_MAX);
                                return false;
                        }
                        if (!take_parameter(s + at, word, rules->extensions, sender, &seen,
                                            ret_reply))
                                return false;
                        if (n_options > 0)
                                options[n_options++] = ' ';
                        memcpy(options + n_options, s + at, word);
                        n_options += word;
                        options[n_options] = '\0';
                }
                at += word + 1;
        }
        return true;
}

const char *command_find_option(const char *options, const char *keyword, size_t *ret_n) {
        size_t n = strlen(keyword);

        for (const char *p = options; *p; p += *ret_n + (p[*ret_n] == ' ')) {
                *ret_n = strcspn(p, " ");
                if (*ret_n >= n && ascii_is_equal(p, keyword, n) && strchr("= ", p[n]))
                        return p;
        }
        return NULL;
}

bool command_has_dsn(const char *options) {
        size_t n;

        for (const struct parameter *p = parameters; p < parameters + ELEMENTS(parameters); p++)
                if (p->extension == EXTENSION_DSN && command_find_option(options, p->keyword, &n))
                        return true;
        return false;
}

/* --- paths ------------------------------------------------------------------------------------ */

/* The words of a command, for its replies. */
struct words {
        const char *prefix;   /* "FROM:" */
        const char *syntax;   /* "MAIL FROM:<address>" */
        const char *bad_path; /* enhanced code */
};
static const struct words mail_words = { "FROM:", "MAIL FROM:<address> [parameters]", "5.1.7" };
static const struct words rcpt_words = { "TO:", "RCPT TO:<address> [parameters]", "5.1.3" };

/* Takes "FROM:" or "TO:" and the path; `*ret_used` octets, with the blanks after it. */
static bool take_path(const char *s, size_t n, const struct words *w, const char *qualify,
                      struct address *ret, size_t *ret_used, struct reply *ret_reply) {
        size_t at = strlen(w->prefix), used = 0;
        enum address_status status;

        if (n < at || !ascii_is_equal(s, w->prefix, at)) {
                reply_set(ret_reply, 501, "5.5.4", "syntax: %s", w->syntax);
                return false;
        }
        while (at < n && s[at] == ' ')
                at++;
        status = address_parse_path(s + at, n - at, ret, &used);
        at += used;
        if (status == ADDRESS_OK && qualify)
                status = address_qualify(ret, qualify);
        if (status == ADDRESS_TOO_LONG)
                reply_set(ret_reply, 501, w->bad_path,
                          "address too long: at most %d octets, its domain %d", ADDRESS_MAX,
                          DOMAIN_MAX);
        else if (status != ADDRESS_OK || (at < n && s[at] != ' '))
                reply_set(ret_reply, 501, w->bad_path, "malformed address: use %s", w->syntax);
        else {
                *ret_used = at;
                return true;
        }
        return false;
}

static bool may_be_utf8(const struct address *a, bool is_smtputf8, struct reply *ret_reply) {
        if (a->is_utf8 && !is_smtputf8) {
                reply_set(ret_reply, 553, "5.6.7", "a non-ASCII address needs SMTPUTF8 in MAIL");
                return false;
        }
        return true;
}

/* After the sender's address. */
static bool take_sender(const char *s, size_t n, const struct command_rules *rules,
                        struct sender *ret, struct reply *ret_reply) {
        if (!take_parameters(s, n, rules, ret, ret->options, ret_reply))
                return false;
        if (rules->needs_domain && !address_is_null(&ret->address) &&
            *address_domain(&ret->address) == '\0' && !address_is_postmaster(&ret->address)) {
                reply_set(ret_reply, 501, "5.1.7", "the sender's address needs a domain");
                return false;
        }
        if (rules->max_size > 0 && ret->size > rules->max_size) {
                reply_set(ret_reply, 552, "5.3.4", "message too big: at most %llu octets",
                          (unsigned long long) rules->max_size);
                return false;
        }
        return may_be_utf8(&ret->address, ret->is_smtputf8, ret_reply);
}

enum command_status command_parse_mail(const char *args, size_t n,
                                       const struct command_rules *rules, struct sender *ret,
                                       struct reply *ret_reply) {
        size_t used;

        ret->size = 0;
        ret->is_8bit = ret->is_smtputf8 = ret->is_prdr = false;
        if (!take_path(args, n, &mail_words, rules->qualify, &ret->address, &used, ret_reply))
                return COMMAND_BAD;
        return take_sender(args + used, n - used, rules, ret, ret_reply) ? COMMAND_OK
                                                                         : COMMAND_REFUSED;
}

/* After the recipient's address. */
static bool take_recipient(const char *s, size_t n, const struct command_rules *rules,
                           struct recipient *ret, struct reply *ret_reply) {
        if (!take_parameters(s, n, rules, NULL, ret->options, ret_reply))
                return false;
        if (address_is_null(&ret->address)) {
                reply_set(ret_reply, 501, "5.1.3", "the recipient cannot be <>");
                return false;
        }
        if (rules->needs_domain && *address_domain(&ret->address) == '\0' &&
            !address_is_postmaster(&ret->address)) {
                reply_set(ret_reply, 501, "5.1.3", "the recipient's address needs a domain");
                return false;
        }
        return may_be_utf8(&ret->address, rules->is_smtputf8, ret_reply);
}

enum command_status command_parse_rcpt(const char *args, size_t n,
                                       const struct command_rules *rules, struct recipient *ret,
                                       struct reply *ret_reply) {
        size_t used;

        if (!take_path(args, n, &rcpt_words, rules->qualify, &ret->address, &used, ret_reply))
                return COMMAND_BAD;
        return take_recipient(args + used, n - used, rules, ret, ret_reply) ? COMMAND_OK
                                                                            : COMMAND_REFUSED;
}
