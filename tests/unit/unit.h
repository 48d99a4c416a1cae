/* unit.h - what the unit tests share: how a suite is run, tables, and octets at the very end of their memory. */
#pragma once

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

/* A string literal as two initializers: the octets and how many. It may contain NUL. */
#define TEXT(literal) (literal), sizeof(literal) - 1

/* Runs `test` once for each row of a table, with the row's index in _i. */
#define UNIT_TABLE(tcase, test, rows) tcase_add_loop_test(tcase, test, 0, ELEMENTS(rows))

/* A test case of `suite` with time for those that try everything, sanitizers included. */
static inline TCase *unit_tcase(Suite *suite, const char *name) {
        TCase *tcase = tcase_create(name);

        tcase_set_timeout(tcase, 60);
        suite_add_tcase(suite, tcase);
        return tcase;
}

/* A copy that ends where the buffer ends: reading past its end is noticed by the sanitizers. */
static inline char *unit_copy(char *buffer, size_t size, const char *s, size_t n) {
        if (n > size)
                ck_abort_msg("%zu octets do not fit %zu", n, size);
        return memcpy(buffer + size - n, s, n);
}

/* Runs the suite; returns main's exit status. */
static inline int unit_run(Suite *suite) {
        SRunner *runner = srunner_create(suite);
        int n_failed;

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
