/* config.c - the option table, and how command line and file fill a struct config from it.
 *
 *   file = *( line LF )    line = *BLANK [ name *BLANK "=" *BLANK value / "#" anything ] *BLANK
 *
 * A new option is one row in the table, and a field.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/ascii.h"
#include "deliver/delivery.h"
#include "io/connect.h"
#include "io/listen.h"

#define ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))
#define FIELD(name) offsetof(struct config, name)

/* --- kinds of values: each parses a text into a field, or says what it expects, and prints it back ------- */

struct option {
        const char *name;
        const char *syntax;   /* of the value; NULL if it takes none; in brackets where it may be left out */
        const char *help;
        const struct kind *kind;
        size_t field;
        uint64_t min, max;    /* of a number */
        const char *shown;    /* how --help says the default where it is not fixed */
        const char *only_for; /* names of the strategies for which it makes sense; NULL: all */
        bool is_for_acceptor; /* it means nothing to a session */
};

struct kind {
        bool (*parse)(const struct option *o, const char *value, void *field);
        void (*print)(const void *field, FILE *out);
        const char *expected;
        bool (*is_set)(const void *field); /* NULL: it always is */
        void (*clear)(void *field);        /* frees the value; NULL: nothing to free */
        bool is_list;                      /* values are added, until another source gives new ones */
        bool has_quotes;                   /* in the value they group words */
};

/* false where there are no digits, or too many. */
static bool parse_digits(const char *s, const char **ret_end, uint64_t *ret) {
        *ret_end = ascii_read_number(s, ret);
        return *ret_end > s && *ret < UINT64_MAX;
}

static bool is_in_range(const struct option *o, uint64_t value) {
        return value >= o->min && value <= o->max;
}

static bool parse_number(const struct option *o, const char *value, void *field) {
        const char *end;

        return parse_digits(value, &end, field) && *end == '\0' && is_in_range(o, *(uint64_t *) field);
}

static void print_number(const void *field, FILE *out) {
        fprintf(out, "%" PRIu64, *(const uint64_t *) field);
}
static const struct kind number = { parse_number, print_number, "a number" };
static const struct kind seconds = { parse_number, print_number, "a number of seconds" };

static bool is_number_set(const void *field) {
        return *(const uint64_t *) field > 0;
}
static const struct kind optional_seconds = { parse_number, print_number, "a number of seconds", is_number_set };

static bool parse_size(const struct option *o, const char *value, void *field) {
        static const char units[] = "KMG";
        const char *end, *unit;
        uint64_t *size = field;

        if (!parse_digits(value, &end, size))
                return false;
        if (*end && (unit = strchr(units, *end & ~0x20))) {
                unsigned shift = (unsigned) (10 * (unit - units + 1));

                if (*size > UINT64_MAX >> shift)
                        return false;
                *size <<= shift;
                end++;
        }
        return *end == '\0' && is_in_range(o, *size);
}
static const struct kind size = { parse_size, print_number,
                                  "a number of octets, or of K, M or G, such as 32M; 0 means no limit" };

static bool parse_yes_no(const struct option *o, const char *value, void *field) {
        (void) o;
        *(bool *) field = strcmp(value, "yes") == 0;
        return *(bool *) field || strcmp(value, "no") == 0;
}

static void print_yes_no(const void *field, FILE *out) {
        fputs(*(const bool *) field ? "yes" : "no", out);
}
static const struct kind yes_no = { parse_yes_no, print_yes_no, "yes or no" };

static bool parse_protocol(const struct option *o, const char *value, void *field) {
        (void) o;
        *(bool *) field = strcmp(value, "lmtp") == 0;
        return *(bool *) field || strcmp(value, "smtp") == 0;
}

static void print_protocol(const void *field, FILE *out) {
        fputs(*(const bool *) field ? "lmtp" : "smtp", out);
}
static const struct kind protocol = { parse_protocol, print_protocol, "smtp or lmtp" };

static bool parse_hostname(const struct option *o, const char *value, void *field) {
        static const char others[] = "-._:[]"; /* an address literal will do */
        size_t n = strlen(value);

        (void) o;
        for (const char *p = value; *p; p++)
                if (!((*p >= '0' && *p <= '9') || ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') || strchr(others, *p)))
                        return false;
        if (n == 0 || n > HOSTNAME_MAX)
                return false;
        memcpy(field, value, n + 1);
        return true;
}

static void print_text(const void *field, FILE *out) {
        fputs(field, out);
}
static const struct kind hostname = { parse_hostname, print_text, "a host name" };

static bool parse_peer(const struct option *o, const char *value, void *field) {
        (void) o;
        return peer_parse(value, field);
}

static void print_peer(const void *field, FILE *out) {
        const struct peer *p = field;
        bool is_bracketed = *p->port && strchr(p->address, ':');

        fprintf(out, "%s%s%s%s%s", is_bracketed ? "[" : "", p->address, is_bracketed ? "]" : "", *p->port ? ":" : "", p->port);
}

static bool is_peer_set(const void *field) {
        return *((const struct peer *) field)->address != '\0';
}
static const struct kind peer_address = { parse_peer, print_peer,
                                          "ADDRESS, IPV4:PORT or [IPV6]:PORT, with a PORT from 1 to 65535",
                                          is_peer_set };

static bool parse_strategy(const struct option *o, const char *value, void *field) {
        (void) o;
        return (*(const struct delivery_ops **) field = delivery_find(value)) != NULL;
}

static void print_strategy(const void *field, FILE *out) {
        fputs((*(const struct delivery_ops *const *) field)->name, out);
}
static const struct kind strategy = { parse_strategy, print_strategy, DELIVERY_NAMES };

/* The length of the word at s, in which quotes group; 0 where a quote is not closed. */
static size_t word_length(const char *s) {
        char quote = '\0';
        size_t n = 0;

        for (; s[n] && (quote || (s[n] != ' ' && s[n] != '\t')); n++)
                if (quote == s[n])
                        quote = '\0';
                else if (!quote && (s[n] == '"' || s[n] == '\''))
                        quote = s[n];
        return quote ? 0 : n;
}

/* A word without its quotes. NULL when memory is out. */
static char *unquote(const char *word, size_t n) {
        char *text = malloc(n + 1), *end = text, quote = '\0';

        for (size_t i = 0; text && i < n; i++)
                if (quote ? word[i] == quote : word[i] == '"' || word[i] == '\'')
                        quote = quote ? '\0' : word[i];
                else
                        *end++ = word[i];
        if (text)
                *end = '\0';
        return text;
}

static void clear_command(void *field) {
        char ***words = field;

        for (char **p = *words; p && *p; p++)
                free(*p);
        free(*words);
        *words = NULL;
}

/* PROGRAM [ARG...]: words between blanks, where "" and '' group. No shell, and no other sign means anything. */
static bool parse_command(const struct option *o, const char *value, void *field) {
        char **words;
        size_t n = 0;

        (void) o;
        clear_command(field);
        words = *(char ***) field = calloc(strlen(value) / 2 + 2, sizeof(*words));
        for (const char *p = value + strspn(value, " \t"); words && *p; p += strspn(p, " \t")) {
                size_t length = word_length(p);

                if (length == 0 || !(words[n++] = unquote(p, length)))
                        return false;
                p += length;
        }
        return n > 0 && *words[0];
}

/* Quotes what has to be; a word with quotes of both kinds becomes several quoted parts. */
static void print_word(const char *word, FILE *out) {
        if (*word && *word != '#' && !strpbrk(word, " \t\"'")) {
                fputs(word, out);
                return;
        }
        do {
                char quote = *word == '"' ? '\'' : '"';
                size_t n = strcspn(word, quote == '"' ? "\"" : "'");

                fprintf(out, "%c%.*s%c", quote, (int) n, word, quote);
                word += n;
        } while (*word);
}

static void print_command(const void *field, FILE *out) {
        char *const *words = *(char *const *const *) field;

        for (size_t i = 0; words[i]; i++) {
                fputs(i > 0 ? " " : "", out);
                print_word(words[i], out);
        }
}

static bool is_command_set(const void *field) {
        return *(char *const *const *) field != NULL;
}
static const struct kind command = { parse_command, print_command, "PROGRAM [ARG...], where quotes group words",
                                     is_command_set, clear_command, .has_quotes = true };

/* ITEM[,ITEM...] */
static bool parse_list(const char *value, struct list *list, bool (*is_item)(const char *item)) {
        for (const char *p = value; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
                const char *begin = p + strspn(p, " \t");
                size_t n = strcspn(begin, ", \t");
                char **items = reallocarray(list->items, list->n + 1, sizeof(*items));

                if (items)
                        list->items = items;
                if (!items || begin[n + strspn(begin + n, " \t")] != *strchrnul(p, ',') || !(items[list->n] = strndup(begin, n)) ||
                    !is_item(items[list->n++]))
                        return false;
        }
        return true;
}

static void print_list(const void *field, FILE *out) {
        const struct list *list = field;

        for (size_t i = 0; i < list->n; i++)
                fprintf(out, "%s%s", i > 0 ? "," : "", list->items[i]);
}

static bool is_list_set(const void *field) {
        return ((const struct list *) field)->n > 0;
}

static void clear_list(void *field) {
        struct list *list = field;

        for (size_t i = 0; i < list->n; i++)
                free(list->items[i]);
        free(list->items);
        *list = (struct list) { NULL, 0 };
}

#define ENDPOINT_EXPECTED "HOST[:PORT], [IPV6]:PORT or /SOCKET, with a PORT from 1 to 65535"

static bool parse_endpoints(const struct option *o, const char *value, void *field) {
        (void) o;
        return parse_list(value, field, connect_is_endpoint);
}
static const struct kind endpoints = { parse_endpoints, print_list, ENDPOINT_EXPECTED, is_list_set, clear_list,
                                       true };

static bool parse_listen(const struct option *o, const char *value, void *field) {
        (void) o;
        return parse_list(value, field, listen_is_endpoint);
}
static const struct kind listeners = { parse_listen, print_list,
                                       "ADDRESS:PORT, [IPV6]:PORT, PORT (of loopback) or /SOCKET, with a PORT up "
                                       "to 65535 (0: one that is free)",
                                       is_list_set, clear_list, true };

static void clear_pointer(void *field) {
        free(*(char **) field);
        *(char **) field = NULL;
}

static bool set_pointer(char **field, const char *value) {
        free(*field);
        *field = strdup(value);
        return *field != NULL;
}

static bool parse_endpoint(const struct option *o, const char *value, void *field) {
        (void) o;
        return connect_is_endpoint(value) && set_pointer(field, value);
}

static void print_pointer(const void *field, FILE *out) {
        fputs(*(const char *const *) field, out);
}

static bool is_pointer_set(const void *field) {
        return *(const char *const *) field != NULL;
}
static const struct kind endpoint = { parse_endpoint, print_pointer, ENDPOINT_EXPECTED, is_pointer_set,
                                      clear_pointer };

static bool parse_path(const struct option *o, const char *value, void *field) {
        (void) o;
        return *value == '/' && set_pointer(field, value);
}
static const struct kind path = { parse_path, print_pointer, "a path that begins with /", is_pointer_set, clear_pointer };

static bool parse_user(const struct option *o, const char *value, void *field) {
        (void) o;
        return *value && !strpbrk(value, " \t:/\"'") && set_pointer(field, value);
}
static const struct kind user = { parse_user, print_pointer, "the name of a user", is_pointer_set, clear_pointer };

static bool is_domain(const char *s) {
        char name[HOSTNAME_MAX + 1];

        return parse_hostname(NULL, s, name) && strcmp(s, ".") != 0;
}

static bool parse_domains(const struct option *o, const char *value, void *field) {
        (void) o;
        return parse_list(value, field, is_domain);
}
static const struct kind domains = { parse_domains, print_list, "DOMAIN, or .DOMAIN with its subdomains", is_list_set, clear_list, true };

static bool parse_networks(const struct option *o, const char *value, void *field) {
        (void) o;
        return parse_list(value, field, peer_is_network);
}
static const struct kind networks = { parse_networks, print_list, "ADDRESS[/BITS], or local", is_list_set, clear_list, true };

/* Options that say what to do instead of serving. They are on the command line only. */
static bool parse_action(const struct option *o, const char *value, void *field) {
        bool is_network = strcmp(value, "network") == 0;

        *(int *) field = is_network ? ACTION_CHECK_NETWORK : (int) o->min;
        return is_network || *value == '\0';
}
static const struct kind action = { parse_action, NULL, "network, or no value" };

static bool parse_file(const struct option *o, const char *value, void *field) {
        (void) o;
        if (*value)
                *(const char **) field = value;
        return *value != '\0';
}
static const struct kind file = { parse_file, NULL, "a file name" };

/* --- the table ------------------------------------------------------------------------------------------- */

enum { YEAR = 365 * 24 * 3600 };

/* Where a mail system's limits end and mistakes begin. */
#define SIZE_MAX_OCTETS (UINT64_C(1) << 62)
#define COUNT_MAX UINT64_C(1000000)

static const struct config defaults = {
        .max_size = 32 << 20,
        .max_recipients = 100,
        .max_commands = 1000,
        .max_errors = 20,
        .timeout = 300,
        .session_timeout = 3600,
        .x_peer = true,
        .sandbox = SANDBOX, /* whether it is built that way */
        .max_connections = 100,
        .max_connections_per_source = 20,
        .stop_timeout = 10,
};

static const struct option options[] = {
        { "config", "FILE", "read this configuration file", &file, FIELD(file), 0, 0,
          DEFAULT_CONFIG ", if it exists; none with --listen on loopback only" },
        { "strategy", "NAME", "what to do with messages: " DELIVERY_NAMES, &strategy, FIELD(strategy), 0, 0,
          "journal if standard error is the journal or systemd started us, else print" },
        { "hostname", "NAME", "our name in the greeting and the EHLO reply", &hostname, FIELD(hostname), 0, 0,
          "the system's" },
        { "command", "PROGRAM [ARG...]", "strategy exec: run this for each message", &command, FIELD(command), 0, 0, NULL,
          "exec" },
        { "upstream", "HOST[:PORT]|/SOCKET", "where mail goes; several are tried in order", &endpoints,
          FIELD(upstream), 0, 0, NULL, "proxy mailman" },
        { "upstream-protocol", "smtp|lmtp", "what the upstream speaks", &protocol, FIELD(is_upstream_lmtp), 0, 0, NULL,
          "proxy mailman" },
        { "upstream-timeout", "SECONDS", "longest wait for the upstream, in each step", &optional_seconds,
          FIELD(upstream_timeout), 1, YEAR, "300, 540 after the final dot", "proxy mailman" },
        { "xclient", "yes|no", "tell the upstream who our client is, by XCLIENT, if it offers that", &yes_no, FIELD(xclient),
          0, 0, NULL, "proxy mailman" },
        { "mailman", "HOST[:PORT]|/SOCKET", "strategy mailman: Mailman 3's LMTP server", &endpoint, FIELD(mailman), 0, 0,
          MAILMAN_DEFAULT, "mailman" },
        { "mailman-wrapper", "PROGRAM", "strategy mailman: Mailman 2.1 instead, its mail/mailman program", &path,
          FIELD(mailman_wrapper), 0, 0, NULL, "mailman" },
        { "mailman-lists", "DIR", "strategy mailman: the lists directory of Mailman 2.1", &path, FIELD(mailman_lists), 0, 0, NULL,
          "mailman" },
        { "relay-to", "DOMAIN", "recipients that anyone may reach; .DOMAIN: with subdomains", &domains, FIELD(relay_to), 0, 0,
          NULL, "proxy mailman" },
        { "relay-from", "ADDRESS[/BITS]", "clients that may reach everyone", &networks, FIELD(relay_from), 0, 0,
          "127.0.0.0/8,::1,local", "proxy mailman" },
        { "protocol", "smtp|lmtp", "what we speak; lmtp (RFC 2033) has a verdict for each recipient", &protocol,
          FIELD(is_lmtp), 0, 0, NULL },
        { "max-size", "BYTES", "longest message, in octets or with K, M, G; 0: no limit", &size, FIELD(max_size), 0,
          SIZE_MAX_OCTETS, "32M" },
        { "max-recipients", "N", "recipients of a message", &number, FIELD(max_recipients), 1, COUNT_MAX, NULL },
        { "max-commands", "N", "commands in a session", &number, FIELD(max_commands), 1, COUNT_MAX, NULL },
        { "max-errors", "N", "refused commands in a session", &number, FIELD(max_errors), 1, COUNT_MAX, NULL },
        { "timeout", "SECONDS", "longest wait for the client", &seconds, FIELD(timeout), 1, YEAR, NULL },
        { "session-timeout", "SECONDS", "longest session, however busy", &seconds, FIELD(session_timeout), 1, YEAR,
          NULL },
        { "x-peer", "yes|no", "add X-Peer: ADDRESS as last header of the message", &yes_no, FIELD(x_peer), 0, 0, NULL },
        { "sandbox", "yes|no", "a session confines itself, as far as the kernel can", &yes_no, FIELD(sandbox), 0, 0, NULL },
        { "peer", "ADDRESS[:PORT]", "who the client is, where stdin is no socket", &peer_address, FIELD(peer), 0, 0,
          "from the connection" },
        { "listen", "ADDRESS:PORT|PORT|/SOCKET",
          "accept connections here, a process for each; PORT alone: of loopback", &listeners, FIELD(listen),
          0, 0, NULL, NULL, true },
        { "user", "NAME", "when accepting, started as root: become this user", &user, FIELD(user), 0, 0, USER_DEFAULT, NULL, true },
        { "max-connections", "N", "when accepting: sessions at once", &number, FIELD(max_connections), 1, COUNT_MAX, NULL, NULL, true },
        { "max-connections-per-source", "N", "when accepting: sessions at once with one address (IPv6: /64)", &number,
          FIELD(max_connections_per_source), 1, COUNT_MAX, NULL, NULL, true },
        { "stop-timeout", "SECONDS", "when accepting: what sessions have to end after SIGTERM", &seconds, FIELD(stop_timeout), 1, YEAR,
          NULL, NULL, true },
        { "exit-idle-time", "SECONDS", "when accepting: exit after so long without a session", &optional_seconds,
          FIELD(exit_idle_time), 1, YEAR, "never", NULL, true },
        { "check", "[network]", "check the configuration and print it; network: ask for the names in it too", &action, FIELD(action), ACTION_CHECK, 0, NULL },
        { "help", NULL, "show this; -h too", &action, FIELD(action), ACTION_HELP, 0, NULL },
        { "version", NULL, "show the version; -V too", &action, FIELD(action), ACTION_VERSION, 0, NULL },
};

static bool is_for_file(const struct option *o) {
        return o->kind != &action && o->kind != &file;
}

static const struct option *find_option(const char *name, size_t n) {
        for (size_t i = 0; i < ELEMENTS(options); i++)
                if (strlen(options[i].name) == n && memcmp(options[i].name, name, n) == 0)
                        return options + i;
        return NULL;
}

static void *field_of(const struct option *o, struct config *c) {
        return (char *) c + o->field;
}

enum { N_OPTIONS = ELEMENTS(options) };

/* --- from texts to fields -------------------------------------------------------------------------------- */

/* Where something stands. */
struct place {
        const char *file; /* NULL: on the command line */
        unsigned line;    /* 0: in no particular one */
};

/* What is being read, and what has been found. */
struct reading {
        struct config *config;
        config_complaint *complain;
        struct place given[N_OPTIONS]; /* of each option, its last place */
        bool is_given[N_OPTIONS];
        unsigned n_in_arguments, n_in_files; /* mistakes */
        bool is_incomplete;                  /* a file could not be read to its end */
        bool is_listening, is_public;        /* --listen on the command line; and beyond loopback */
};

__attribute__((format(printf, 3, 4))) static void complain(struct reading *r, struct place place, const char *format, ...) {
        char what[512], where[512] = "command line";
        va_list ap;

        va_start(ap, format);
        vsnprintf(what, sizeof(what), format, ap);
        va_end(ap);
        if (place.file && place.line > 0)
                snprintf(where, sizeof(where), "%.480s:%u", place.file, place.line);
        else if (place.file)
                snprintf(where, sizeof(where), "%.480s", place.file);
        r->complain(where, what);
        *(place.file ? &r->n_in_files : &r->n_in_arguments) += 1;
}

/* Whether what the option has so far comes from elsewhere: a default, or the other one of file and command line. */
static bool is_from_elsewhere(const struct reading *r, const struct option *o, struct place place) {
        size_t i = (size_t) (o - options);

        return !r->is_given[i] || (r->given[i].file == NULL) != (place.file == NULL);
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* What a line of the file can hold. */
static bool is_text(const char *value) {
        size_t n = strlen(value);

        for (const char *p = value; *p; p++)
                if (((unsigned char) *p < ' ' && *p != '\t') || *p == 0x7f)
                        return false;
        return n == 0 || !(is_blank(value[0]) || is_blank(value[n - 1]));
}

/* Whether a comment seems to follow the value: a # after a blank, and not in quotes if these group
 * words. */
static bool has_comment(const struct option *o, const char *value) {
        char quote = '\0';

        for (const char *p = value; *p; p++)
                if (quote == *p)
                        quote = '\0';
                else if (!quote && o->kind->has_quotes && (*p == '"' || *p == '\''))
                        quote = *p;
                else if (!quote && *p == '#' && p > value && is_blank(p[-1]))
                        return true;
        return false;
}

/* What to use in place of a value of this form, whatever the option; NULL if nothing is wrong with
 * it. Quotes and comments that have no meaning would become part of the value. */
static const char *expected_form(const struct option *o, const char *value) {
        if (!is_text(value))
                return "a text without control characters, and without blanks at its ends";
        if (!o->kind->has_quotes && (*value == '"' || *value == '\''))
                return "the value without quotes";
        if (has_comment(o, value))
                return o->kind->has_quotes ? "a line of its own for a comment, or quotes around a word that "
                                             "begins with #"
                                           : "a line of its own for a comment";
        return NULL;
}

static void set_value(struct reading *r, const struct option *o, const char *value, struct place place) {
        const char *expected = expected_form(o, value);

        if (expected) {
                complain(r, place, "%s=%.200s: use %s", o->name, value, expected);
                return;
        }
        if (o->kind->is_list && is_from_elsewhere(r, o, place))
                o->kind->clear(field_of(o, r->config));
        errno = 0;
        if (!o->kind->parse(o, value, field_of(o, r->config))) {
                if (errno == ENOMEM)
                        complain(r, place, "%s: out of memory", o->name);
                else if (o->max > 0 && o->kind != &size) /* whose bound has 19 digits */
                        complain(r, place, "%s=%.200s: use %s between %" PRIu64 " and %" PRIu64, o->name, value,
                                 o->kind->expected, o->min, o->max);
                else
                        complain(r, place, "%s=%.200s: use %s", o->name, value, o->kind->expected);
                return;
        }
        r->given[o - options] = place;
        r->is_given[o - options] = true;
}

/* --- the command line ---------------------------------------------------------------------------------------- */

/* Which options of the command line to take: first those that say where the others are. */
enum pass { PASS_BEFORE_FILE, PASS_AFTER_FILE };

static bool is_value_fitting(const struct option *o, bool has_value) {
        return o->syntax ? has_value || *o->syntax == '[' : !has_value;
}

/* Of the short options there are. */
static const char *long_form(const char *argument) {
        if (strcmp(argument, "-h") == 0)
                return "--help";
        return strcmp(argument, "-V") == 0 ? "--version" : argument;
}

/* Whoever listens on loopback, and says so on the command line, is trying something out: not with the
 * system's file. */
static void note_listen(struct reading *r, const char *value) {
        struct list list = { NULL, 0 };

        r->is_listening = true;
        r->is_public |= !parse_list(value, &list, listen_is_loopback);
        clear_list(&list);
}

/* Takes --name, --name=value or --name value, and returns how many arguments that are. */
static int take_argument(struct reading *r, char **argv, enum pass pass) {
        const struct place here = { NULL, 0 };
        const char *argument = long_form(*argv), *name = argument + 2, *equals, *value;
        const struct option *o;
        int n = 1;

        if (strncmp(argument, "--", 2) != 0 || name[0] == '\0') {
                if (pass == PASS_BEFORE_FILE && strcmp(argument, "-bs") != 0) /* sendmail -bs: what we do anyway */
                        complain(r, here, "%.200s: options are written --name=value or --name value; see --help",
                                 argument);
                return n;
        }
        equals = strchrnul(name, '=');
        value = *equals ? equals + 1 : NULL;
        o = find_option(name, (size_t) (equals - name));
        if (o && !value && !is_value_fitting(o, false) && argv[1] && strncmp(argv[1], "--", 2) != 0)
                value = argv[n++];
        if (pass == PASS_BEFORE_FILE && o && o->kind == &listeners && value)
                note_listen(r, value);
        if (o && is_for_file(o) != (pass == PASS_AFTER_FILE))
                return n;
        if (o && is_value_fitting(o, value))
                set_value(r, o, value ? value : "", here);
        else if (o && o->syntax)
                complain(r, here, "--%s needs a value: write --%s=%s", o->name, o->name, o->syntax);
        else if (o)
                complain(r, here, "--%s takes no value", o->name);
        else if (pass == PASS_BEFORE_FILE)
                complain(r, here, "--%.*s: unknown option; --help lists them", (int) (equals - name), name);
        return n;
}

/* argv[argc] is NULL. */
static void take_arguments(struct reading *r, int argc, char **argv, enum pass pass) {
        for (int i = 1; i < argc;)
                i += take_argument(r, argv + i, pass);
}

/* --- the file ------------------------------------------------------------------------------------------------ */

/* Without the blanks at both ends; in place. */
static char *trim(char *s, size_t n) {
        while (n > 0 && is_blank(s[n - 1]))
                n--;
        s[n] = '\0';
        while (is_blank(*s))
                s++;
        return s;
}

static void take_file_line(struct reading *r, char *line, size_t n, struct place place) {
        char *name, *value, *equals;
        const struct option *o;

        if (memchr(line, '\0', n)) {
                complain(r, place, "has a NUL octet: this is no text");
                return;
        }
        name = trim(line, n);
        if (*name == '\0' || *name == '#')
                return;
        equals = strchr(name, '=');
        value = equals ? trim(equals + 1, strlen(equals + 1)) : NULL;
        name = trim(name, equals ? (size_t) (equals - name) : strlen(name));
        o = find_option(name, strlen(name));
        if (!o)
                complain(r, place, "%.200s: unknown option; --help lists them", name);
        else if (!is_for_file(o))
                complain(r, place, "%s: only for the command line", o->name);
        else if (!value)
                complain(r, place, "%s needs a value: write %s=%s", o->name, o->name, o->syntax);
        else
                set_value(r, o, value, place);
}

/* /dev/fd/N is the descriptor N itself, which is closed behind us: so the acceptor passes a configuration on. */
static int open_file(const char *name) {
        static const char passed[] = "/dev/fd/";
        uint64_t fd;
        const char *end;

        if (strncmp(name, passed, strlen(passed)) != 0 || !parse_digits(name + strlen(passed), &end, &fd) || *end || fd > INT_MAX)
                return open(name, O_RDONLY | O_CLOEXEC);
        return (int) fd;
}

enum { FILE_MAX = 16 * 1024 * 1024 }; /* octets that a file may not reach */

/* What a file says. Most need no heap, and stdio(3) would be a part of each session's start. */
struct text {
        char room[4096], *octets;
        size_t n;
};

static void free_text(struct text *t) {
        if (t->octets != t->room)
                free(t->octets);
}

/* All of the file, and room for one octet more. 0 or a negative errno; the text is to be freed in any case. */
static int read_text(int fd, struct text *t) {
        size_t room = sizeof(t->room);
        ssize_t k;

        t->octets = t->room;
        for (t->n = 0; (k = read(fd, t->octets + t->n, room - t->n)) != 0;) {
                if (k < 0 && errno != EINTR)
                        return -errno;
                t->n += k > 0 ? (size_t) k : 0;
                if (t->n == room) {
                        char *more = room < FILE_MAX ? malloc(2 * room) : NULL;

                        if (!more)
                                return room < FILE_MAX ? -ENOMEM : -EFBIG;
                        memcpy(more, t->octets, t->n);
                        free_text(t);
                        t->octets = more;
                        room *= 2;
                }
        }
        return 0;
}

/* Returns whether there is one. */
static bool take_file(struct reading *r, const char *name, bool must_exist) {
        int fd = open_file(name), error;
        struct place place = { name, 0 };
        struct text t;

        if (fd < 0 && (must_exist || errno != ENOENT)) {
                complain(r, place, "cannot be opened: %s", strerror(errno));
                r->is_incomplete = true;
        }
        if (fd < 0)
                return false;
        error = -read_text(fd, &t);
        if (error) {
                complain(r, place, "cannot be read: %s", strerror(error));
                r->is_incomplete = true;
        }
        for (char *line = t.octets, *end = t.octets + t.n; !error && line < end;) {
                char *line_end = memchr(line, '\n', (size_t) (end - line));
                size_t n = (size_t) ((line_end ? line_end : end) - line);

                place.line++;
                take_file_line(r, line, n, place);
                line += n + 1;
        }
        free_text(&t);
        close(fd);
        return true;
}

/* --- what does not go together --------------------------------------------------------------------------- */

/* Whether an option makes sense with a strategy: `only_for` is a list of names. */
static bool is_for_strategy(const struct option *o, const struct delivery_ops *strategy_in_use) {
        const char *list = o->only_for, *name = strategy_in_use->name;
        size_t n = strlen(name);

        for (const char *p = list ? strstr(list, name) : NULL; p; p = strstr(p + 1, name))
                if ((p == list || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
                        return true;
        return !list;
}

static void check_together(struct reading *r) {
        const char *name = r->config->strategy->name;
        const struct option *o = find_option("strategy", strlen("strategy"));

        if (strcmp(name, "exec") == 0 && !r->config->command)
                complain(r, r->given[o - options], "strategy=exec needs command=PROGRAM [ARG...]");
        if (strcmp(name, "proxy") == 0 && r->config->upstream.n == 0)
                complain(r, r->given[o - options], "strategy=proxy needs upstream=HOST[:PORT]");
        if (!r->config->mailman_wrapper != !r->config->mailman_lists)
                complain(r, r->given[o - options], "Mailman 2.1 needs both mailman-wrapper and mailman-lists");
        for (size_t i = 0; i < N_OPTIONS; i++)
                if (r->is_given[i] && !is_for_strategy(options + i, r->config->strategy))
                        complain(r, r->given[i], "%s makes no sense with strategy=%s: it is for %s", options[i].name, name,
                                 options[i].only_for);
}

/* --- all together ---------------------------------------------------------------------------------------- */

static void set_defaults(struct config *c) {
        bool is_for_journal = c->is_for_journal;
        struct utsname system;

        *c = defaults;
        c->is_for_journal = is_for_journal;
        if (uname(&system) < 0 || !parse_hostname(NULL, system.nodename, c->hostname))
                strcpy(c->hostname, "localhost");
        c->strategy = delivery_default(c->is_for_journal);
}

int config_load(int argc, char **argv, struct config *ret, config_complaint *complain_of) {
        struct reading r = { .config = ret, .complain = complain_of };

        set_defaults(ret);
        take_arguments(&r, argc, argv, PASS_BEFORE_FILE);
        if (ret->file)
                take_file(&r, ret->file, true);
        else if ((!r.is_listening || r.is_public) && take_file(&r, DEFAULT_CONFIG, false))
                ret->file = DEFAULT_CONFIG;
        take_arguments(&r, argc, argv, PASS_AFTER_FILE);
        ret->is_strategy_given = r.is_given[find_option("strategy", strlen("strategy")) - options];
        if (ret->strategy && !r.is_incomplete)
                check_together(&r);
        return r.n_in_arguments > 0 ? EX_USAGE : r.n_in_files > 0 ? EX_CONFIG : 0;
}

static bool has_value(const struct config *c, const struct option *o) {
        return !o->kind->is_set || o->kind->is_set((const char *) c + o->field);
}

static void print_option(const struct config *c, const struct option *o, FILE *out) {
        fprintf(out, "%s=", o->name);
        o->kind->print((const char *) c + o->field, out);
        fputc('\n', out);
}

void config_print(const struct config *c, FILE *out) {
        for (const struct option *o = options; o < options + N_OPTIONS; o++) {
                if (!is_for_file(o) || !is_for_strategy(o, c->strategy))
                        continue;
                if (has_value(c, o))
                        print_option(c, o, out);
                else
                        fprintf(out, "#%s=%s (%s)\n", o->name, o->shown ? o->shown : o->syntax,
                                o->shown ? "default" : "not set");
        }
}

void config_print_for_session(const struct config *c, FILE *out) {
        for (const struct option *o = options; o < options + N_OPTIONS; o++)
                if (is_for_file(o) && !o->is_for_acceptor && is_for_strategy(o, c->strategy) &&
                    has_value(c, o))
                        print_option(c, o, out);
}

void config_free(struct config *c) {
        for (size_t i = 0; i < N_OPTIONS; i++)
                if (options[i].kind->clear)
                        options[i].kind->clear(field_of(options + i, c));
}

void config_help(FILE *out) {
        for (size_t i = 0; i < N_OPTIONS; i++) {
                const struct option *o = options + i;
                const char *field = (const char *) &defaults + o->field;
                bool has_default = o->kind->print && !o->shown && (!o->kind->is_set || o->kind->is_set(field));
                char left[64];

                if (o->kind == &action)
                        snprintf(left, sizeof(left), "--%s%s", o->name, o->syntax ? "[=network]" : "");
                else
                        snprintf(left, sizeof(left), "--%s=%s", o->name, o->syntax);
                fprintf(out, "  %-28s %s", left, o->help);
                if (has_default || o->shown)
                        fprintf(out, " (default: %s", o->shown ? o->shown : "");
                if (has_default)
                        o->kind->print(field, out);
                fputs(has_default || o->shown ? ")\n" : "\n", out);
        }
}
