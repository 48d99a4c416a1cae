/* SPDX-License-Identifier: MIT */
/* unit.h - what the unit tests are written with: suites, assertions, tables, and octets at the very
 * end of their memory.
 *
 * The words are those of libcheck, which is not there for each C library and architecture that the
 * tests are built for. Each test, and each row of a table, runs in a process of its own.
 */
#pragma once

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

/* A string literal as two initializers: the octets and how many. It may contain NUL. */
#define TEXT(literal) (literal), sizeof(literal) - 1

enum { UNIT_PATIENCE = 300 }; /* seconds: some try everything, in an emulator on a busy machine */

/* --- assertions: the first that fails ends the test ------------------------------------------- */

__attribute__((format(printf, 3, 4), noreturn)) static inline void
unit_fail(const char *file, int line, const char *format, ...) {
        va_list args;

        fprintf(stderr, "%s:%d: ", file, line);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fputc('\n', stderr);
        _exit(EXIT_FAILURE);
}

static inline void unit_assert_string(const char *file, int line, const char *what, const char *a,
                                      const char *b, int is_equal) {
        if ((strcmp(a, b) == 0) != is_equal)
                unit_fail(file, line, "%s: \"%s\", \"%s\"", what, a, b);
}

#define ck_abort_msg(...) unit_fail(__FILE__, __LINE__, __VA_ARGS__)
#define ck_assert_msg(is_true, ...) ((is_true) ? (void) 0 : ck_abort_msg(__VA_ARGS__))
#define ck_assert(is_true) ck_assert_msg(is_true, "%s", #is_true)

#define UNIT_ASSERT_NUMBERS(type, format, a, operator, b)                                          \
        do {                                                                                       \
                type a_ = (type) (a), b_ = (type) (b);                                             \
                                                                                                   \
                ck_assert_msg(a_ operator b_, "%s " #operator" %s: %" format ", %" format, #a, #b, \
                              a_, b_);                                                             \
        } while (0)

#define ck_assert_int_eq(a, b) UNIT_ASSERT_NUMBERS(intmax_t, PRIdMAX, a, ==, b)
#define ck_assert_int_ge(a, b) UNIT_ASSERT_NUMBERS(intmax_t, PRIdMAX, a, >=, b)
#define ck_assert_uint_eq(a, b) UNIT_ASSERT_NUMBERS(uintmax_t, PRIuMAX, a, ==, b)
#define ck_assert_uint_le(a, b) UNIT_ASSERT_NUMBERS(uintmax_t, PRIuMAX, a, <=, b)
#define ck_assert_ptr_eq(a, b) ck_assert((const void *) (a) == (const void *) (b))
#define ck_assert_ptr_nonnull(a) ck_assert((a) != NULL)
#define ck_assert_mem_eq(a, b, n) ck_assert(memcmp(a, b, n) == 0)
#define ck_assert_str_eq(a, b) unit_assert_string(__FILE__, __LINE__, #a " == " #b, a, b, 1)
#define ck_assert_str_ne(a, b) unit_assert_string(__FILE__, __LINE__, #a " != " #b, a, b, 0)

/* --- tests ------------------------------------------------------------------------------------ */

enum { UNIT_CASES = 16 }; /* of a suite, at most */

typedef struct {
        const char *name;
        unsigned n_cases, n_run, n_failed;
        struct unit_case *cases;
} Suite;

typedef struct unit_case {
        Suite *suite;
        const char *name;
} TCase;

/* A test stands between the two; tcase_add_loop_test() gives it _i. */
#define START_TEST(name) static void name(__attribute__((unused)) int _i)
#define END_TEST

/* The only suite of a program. */
static inline Suite *suite_create(const char *name) {
        static TCase cases[UNIT_CASES];
        static Suite suite;

        suite = (Suite) { .name = name, .cases = cases };
        return &suite;
}

static inline TCase *unit_tcase(Suite *suite, const char *name) {
        TCase *tcase = &suite->cases[suite->n_cases++];

        if (suite->n_cases > UNIT_CASES)
                abort();
        *tcase = (TCase) { suite, name };
        return tcase;
}

static inline void unit_try(const TCase *tcase, const char *name, void (*test)(int), int i) {
        int status = -1;
        pid_t pid;

        fflush(stdout);
        pid = fork();
        if (pid == 0) {
                alarm(UNIT_PATIENCE);
                test(i);
                exit(EXIT_SUCCESS);
        }
        tcase->suite->n_run++;
        if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
                return;
        tcase->suite->n_failed++;
        fprintf(stderr, "%s: %s: %s[%d] failed, wait status %#x\n", tcase->suite->name, tcase->name,
                name, i, (unsigned) status);
}

/* Runs a test for each i from `from` on, before `to`. */
static inline void unit_try_each(const TCase *tcase, const char *name, void (*test)(int), int from,
                                 int to) {
        for (int i = from; i < to; i++)
                unit_try(tcase, name, test, i);
}

#define tcase_add_loop_test(tcase, test, from, to) unit_try_each(tcase, #test, test, from, to)
#define tcase_add_test(tcase, test) unit_try_each(tcase, #test, test, 0, 1)

/* Runs `test` once for each row of a table, with the row's index in _i. */
#define UNIT_TABLE(tcase, test, rows) unit_try_each(tcase, #test, test, 0, (int) ELEMENTS(rows))

/* Tests of all that there is try each n-th only, if $UNIT_STEP is n: in an emulator, for example.
 */
static inline unsigned unit_step(void) {
        const char *step = getenv("UNIT_STEP");
        int n = step ? atoi(step) : 1;

        return n > 0 ? (unsigned) n : 1;
}

/* A copy that ends where the buffer ends: reading past its end is noticed by the sanitizers. */
static inline char *unit_copy(char *buffer, size_t size, const char *s, size_t n) {
        if (n > size)
                ck_abort_msg("%zu octets do not fit %zu", n, size);
        return memcpy(buffer + size - n, s, n);
}

/* Says what came of the suite; returns main's exit status. */
static inline int unit_run(const Suite *suite) {
        printf("%s: %u tests, %u failed\n", suite->name, suite->n_run, suite->n_failed);
        return suite->n_run > 0 && suite->n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
