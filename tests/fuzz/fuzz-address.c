/* SPDX-License-Identifier: MIT */
/* fuzz/fuzz-address.c - paths, and the arguments of MAIL and RCPT. What is accepted is what it was,
 * within its limits, and holds nothing that could end a line or leave its place in another command.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool has_control(const char *s) {
        for (; *s; s++)
                if ((unsigned char) *s < ' ' || *s == '\x7f')
                        return true;
        return false;
}

/* The code point at `s`, by arithmetic; `*ret_n` octets long. */
static unsigned long code_point(const unsigned char *s, size_t *ret_n) {
        size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
        unsigned long c = n == 1 ? s[0] : s[0] & (0xffU >> (n + 1));

        for (*ret_n = 1; *ret_n < n && (s[*ret_n] & 0xc0) == 0x80; ++*ret_n)
                c = c << 6 | (s[*ret_n] & 0x3fU);
        return c;
}

/* RFC 3629: the shortest form, no surrogates, nothing over U+10FFFF. */
static bool is_utf8(const char *text) {
        static const unsigned long least[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t n;

        for (const unsigned char *s = (const unsigned char *) text; *s; s += n) {
                unsigned long c = code_point(s, &n);

                if (s[0] >= 0x80 && (s[0] < 0xc2 || s[0] > 0xf4 || n < 2 || c < least[n]))
                        return false;
                if ((c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
                        return false;
        }
        return true;
}

static bool has_8bit(const char *s) {
        for (; *s; s++)
                if (*s & 0x80)
                        return true;
        return false;
}

/* Octets that mean something to a command are quoted, or not there. */
static void check_plain(const char *s, size_t n) {
        for (size_t i = 0; i < n; i++)
                assert(!strchr("<>()\\,;@\" ", s[i]));
}

static void check_address(const struct address *a) {
        size_t n = strlen(a->text);
        const char *domain = address_domain(a);

        assert(n <= ADDRESS_MAX && a->n_local <= n && strlen(domain) <= DOMAIN_MAX);
        assert(!has_control(a->text) && is_utf8(a->text) && a->is_utf8 == has_8bit(a->text));
        assert(address_is_null(a) || a->n_local > 0);
        assert(a->n_local == n || (a->text[a->n_local] == '@' && *domain));
        if (domain[0] != '[') /* between brackets RFC 5321 allows nearly everything */
                check_plain(domain, strlen(domain));
        if (a->text[0] != '"')
                check_plain(a->text, a->n_local);
        else
                assert(a->n_local >= 2 && a->text[a->n_local - 1] == '"');
}

/* What was accepted is accepted again, and is the same. */
static void check_again(const struct address *a) {
        char path[ADDRESS_MAX + 3] = "<";
        size_t n, used;
        struct address again;

        strcat(strcat(path, a->text), ">");
        n = strlen(path);
        assert(address_parse_path(path, n, &again, &used) == ADDRESS_OK && used == n);
        assert(strcmp(again.text, a->text) == 0 && again.n_local == a->n_local &&
               again.is_utf8 == a->is_utf8);
        assert(!again.has_route);
}

static void fuzz_path(const char *s, size_t n) {
        struct address a;
        size_t used, again;

        if (address_parse_path(s, n, &a, &used) != ADDRESS_OK)
                return;
        assert(used <= n && used >= strlen(a.text));
        assert(memmem(s, used, a.text, strlen(a.text)));
        check_address(&a);
        check_again(&a);
        /* it needs nothing behind it */
        assert(address_parse_path(s, used, &a, &again) == ADDRESS_OK && again == used);
}

/* Parameters as they are passed on: the last words of the argument, one blank between them. */
static void check_options(const char *options, bool is_extended, const char *args, size_t n_args) {
        size_t n = strlen(options);

        assert(n <= OPTIONS_MAX && (is_extended || n == 0));
        assert(!has_control(options) && !has_8bit(options) && !strstr(options, "  "));
        assert(n == 0 || (options[0] != ' ' && options[n - 1] != ' '));
        while (n > 0) { /* both from their ends, one word after the other */
                while (n_args > 0 && args[n_args - 1] == ' ')
                        n_args--;
                while (n > 0 && options[n - 1] != ' ')
                        assert(n_args > 0 && options[--n] == args[--n_args]);
                assert(n_args > 0 && args[n_args - 1] == ' ');
                n -= n > 0;
        }
}

static void check_refusal(const struct reply *r) {
        assert(r->code == 501 || r->code == 552 || r->code == 553 || r->code == 555);
        assert(r->enhanced[0] == '5' && *r->text && !has_control(r->text) && !has_8bit(r->text));
}

static void fuzz_mail(const char *s, size_t n, const struct command_rules *rules) {
        struct sender *sender = malloc(sizeof(*sender));
        struct reply r;

        if (command_parse_mail(s, n, rules, sender, &r) == COMMAND_OK) {
                check_address(&sender->address);
                check_options(sender->options, rules->is_extended, s, n);
                assert(!sender->address.is_utf8 || sender->is_smtputf8);
                assert(!sender->is_smtputf8 || rules->extensions & EXTENSION_SMTPUTF8);
                assert(rules->max_size == 0 || sender->size <= rules->max_size);
        } else
                check_refusal(&r);
        free(sender);
}

static void fuzz_rcpt(const char *s, size_t n, const struct command_rules *rules) {
        struct recipient *recipient = malloc(sizeof(*recipient));
        struct reply r;

        if (command_parse_rcpt(s, n, rules, recipient, &r) == COMMAND_OK) {
                check_address(&recipient->address);
                check_options(recipient->options, rules->is_extended, s, n);
                assert(!address_is_null(&recipient->address));
                assert(!recipient->address.is_utf8 || rules->is_smtputf8);
                assert(*address_domain(&recipient->address) ||
                       address_is_postmaster(&recipient->address) ||
                       !(rules->needs_domain || rules->qualify));
        } else
                check_refusal(&r);
        free(recipient);
}

/* An argument of MAIL or RCPT, in memory of exactly its size. */
static void fuzz_arguments(const char *prefix, const char *s, size_t n,
                           const struct command_rules *rules) {
        size_t n_prefix = strlen(prefix);
        char *args = malloc(n_prefix + n);

        memcpy(args, prefix, n_prefix);
        memcpy(args + n_prefix, s, n);
        fuzz_mail(args, n_prefix + n, rules);
        fuzz_rcpt(args, n_prefix + n, rules);
        free(args);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        struct command_rules rules = { 0 };
        const char *s = (const char *) data + 1;

        if (n < 1)
                return 0;
        rules.is_extended = data[0] & 1;
        rules.is_smtputf8 = data[0] & 2;
        rules.extensions = data[0] & 4 ? data[0] >> 3 & EXTENSIONS_ALL : EXTENSIONS_ALL;
        rules.max_size = data[0] & 0x40 ? 1000 : 0;
        rules.needs_domain = !(data[0] & 0x80);
        rules.qualify = n % 3 == 0 ? "qualified.example" : NULL;
        fuzz_path(s, n - 1);
        fuzz_arguments("FROM:", s, n - 1, &rules);
        fuzz_arguments("TO:", s, n - 1, &rules);
        fuzz_arguments("", s, n - 1, &rules);
        return 0;
}
