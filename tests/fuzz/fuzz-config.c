/* SPDX-License-Identifier: MIT */
/* fuzz/fuzz-config.c - configuration file and command line: what is accepted can be printed, and
 * read again as the same.
 *
 * The input is an octet of choices, the file, and then arguments of the command line, each behind
 * an octet 0xff.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/config.h"
#include "deliver/delivery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Of the sanitizers, where there are any. */
__attribute__((weak)) int
__sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void *, size_t),
                                          void (*free_hook)(const volatile void *));
const char *__asan_default_options(void);

/* Leaks are counted below. */
const char *__asan_default_options(void) {
        return "detect_leaks=0";
}

enum { ARGUMENTS_MAX = 32 };
enum { IS_JOURNAL = 1, IS_FOR_SESSION = 2 };

typedef void printer(const struct config *c, FILE *out);

static unsigned n_complaints;
static _Thread_local long n_blocks; /* of allocated memory, by this thread: libFuzzer has others */
static bool is_counting;

static void count_malloc(const volatile void *block, size_t n) {
        (void) n;
        n_blocks += block != NULL;
}

static void count_free(const volatile void *block) {
        n_blocks -= block != NULL;
}

static void count_blocks(void) {
        if (!is_counting && __sanitizer_install_malloc_and_free_hooks)
                is_counting =
                        __sanitizer_install_malloc_and_free_hooks(count_malloc, count_free) > 0;
}

static void complain(const char *where, const char *what) {
        assert(*where && *what);
        n_complaints++;
}

/* A configuration file with this content. */
static const char *make_file(const char *text, size_t n) {
        static char name[60];
        static int fd = -1;

        if (fd < 0) {
                fd = memfd_create("smtpd.conf", 0);
                snprintf(name, sizeof(name), "--config=/proc/self/fd/%d", fd);
        }
        assert(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, text, n, 0) == (ssize_t) n);
        return name;
}

static char *make_argument(const char *text, size_t n) {
        char *s = malloc(n + 1);

        memcpy(s, text, n);
        s[n] = '\0';
        return s;
}

/* Loads it. Returns what the configuration looks like; NULL if it was not accepted. Nothing leaks.
 */
static char *load(int argc, char **argv, bool is_journal, printer *print, size_t *ret_n) {
        long n_blocks_before = n_blocks;
        struct config *c = calloc(1, sizeof(*c));
        char *text = NULL;
        FILE *out;
        int r;

        n_complaints = 0;
        c->strategies = delivery_strategies;
        c->strategy = delivery_default(is_journal);
        r = config_load(argc, argv, c, complain);
        assert((r == 0) == (n_complaints == 0));
        if (r == 0) {
                assert(c->strategy && *c->hostname && c->timeout > 0 && c->session_timeout > 0);
                out = open_memstream(&text, ret_n);
                print(c, out);
                fclose(out);
        }
        config_free(c);
        free(c);
        assert(n_blocks == n_blocks_before + (is_counting && text)); /* all but the text */
        return text;
}

/* What is printed of a configuration, or of the session's part of it, is printed again of what is
 * printed. */
static void check_again(int argc, char **argv, bool is_journal, printer *print) {
        size_t n, n_again = 0;
        char *text = load(argc, argv, is_journal, print, &n), *again,
             *argv_again[] = { "smtpd", NULL, NULL };

        if (!text)
                return;
        argv_again[1] = strdup(make_file(text, n));
        again = load(2, argv_again, is_journal, print, &n_again);
        if (!again || n != n_again || memcmp(text, again, n) != 0) {
                fprintf(stderr,
                        "fuzz-config: not so: what is printed is the same when it is "
                        "read\nprinted:\n%s\nread again:\n%s\n",
                        text, again ? again : "(refused)");
                abort();
        }
        free(text);
        free(again);
        free(argv_again[1]);
}

/* Another file could be anything, and have no end. */
static bool is_usable(const char *argument) {
        return strncmp(argument, "--config", 8) != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        const char *p = (const char *) data + 1, *end = (const char *) data + n, *next;
        char *argv[ARGUMENTS_MAX + 3] = { "smtpd" };
        int argc = 1;

        if (n < 1)
                return 0;
        count_blocks();
        for (; p && argc < ARGUMENTS_MAX + 2; p = next) {
                size_t n_part;

                next = p < end ? memchr(p, 0xff, (size_t) (end - p)) : NULL;
                n_part = (size_t) ((next ? next++ : end) - p);
                if (argc == 1)
                        argv[argc++] = strdup(make_file(p, n_part));
                else if (is_usable(argv[argc] = make_argument(p, n_part)))
                        argc++;
                else
                        free(argv[argc]);
        }
        argv[argc] = NULL;
        check_again(argc, argv, data[0] & IS_JOURNAL,
                    data[0] & IS_FOR_SESSION ? config_print_for_session : config_print);
        while (argc > 1)
                free(argv[--argc]);
        return 0;
}
