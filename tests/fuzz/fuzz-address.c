/* fuzz/fuzz-address.c - paths, and the arguments of MAIL and RCPT. What is accepted is what it was, within its limits,
 * and holds nothing that could end a line or leave its place in another command. */
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

static bool is_utf8(const char *s) {
        size_t n = strlen(s);

        for (size_t at = 0, step; at < n; at += step) {
                step = (s[at] & 0x80) ? utf8_length(s + at, n - at) : 1;
                if (step == 0)
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
        assert(strcmp(again.text, a->text) == 0 && again.n_local == a->n_local && again.is_utf8 == a->is_utf8 && !again.has_route);
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
        assert(address_parse_path(s, used, &a, &again) == ADDRESS_OK && again == used); /* it needs nothing behind it */
}

/* Parameters as they are passed on: words with one blank between them. */
static void check_options(const char *options, bool is_extended) {
        size_t n = strlen(options);

        assert(n <= OPTIONS_MAX && (is_extended || n == 0));
        assert(!has_control(options) && !has_8bit(options) && !strstr(options, "  "));
        assert(n == 0 || (options[0] != ' ' && options[n - 1] != ' '));
}

static void check_refusal(const struct reply *r) {
        assert(r->code == 501 || r->code == 552 || r->code == 553 || r->code == 555);
        assert(r->enhanced[0] == '5' && *r->text && !has_control(r->text) && !has_8bit(r->text));
}

static void fuzz_mail(const char *s, size_t n, const struct command_rules *rules) {
        struct sender *sender = malloc(sizeof(*sender));
        struct reply r;

        if (command_parse_mail(s, n, rules, sender, &r)) {
                check_address(&sender->address);
                check_options(sender->options, rules->is_extended);
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

        if (command_parse_rcpt(s, n, rules, recipient, &r)) {
                check_address(&recipient->address);
                check_options(recipient->options, rules->is_extended);
                assert(!address_is_null(&recipient->address));
                assert(!recipient->address.is_utf8 || rules->is_smtputf8);
                assert(*address_domain(&recipient->address) || address_is_postmaster(&recipient->address));
        } else
                check_refusal(&r);
        free(recipient);
}

/* An argument of MAIL or RCPT, in memory of exactly its size. */
static void fuzz_arguments(const char *prefix, const char *s, size_t n, const struct command_rules *rules) {
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
        fuzz_path(s, n - 1);
        fuzz_arguments("FROM:", s, n - 1, &rules);
        fuzz_arguments("TO:", s, n - 1, &rules);
        fuzz_arguments("", s, n - 1, &rules);
        return 0;
}
