/* SPDX-License-Identifier: MIT */
/* test-text.c - base/text: the same as printf(3), for what it knows, in any room there is. */
#include "base/text.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "unit.h"

/* What is between the two is formatted by both, into each room at the very end of its memory. */
#define SAME(...)                                                                                  \
        do {                                                                                       \
                int n = snprintf(NULL, 0, __VA_ARGS__);                                            \
                                                                                                   \
                for (size_t room = 1; room <= (size_t) n + 2; room++) {                            \
                        char *out = malloc(room), *want = malloc(room);                            \
                                                                                                   \
                        snprintf(want, room, __VA_ARGS__);                                         \
                        ck_assert_uint_eq(text_format(out, room, __VA_ARGS__), strlen(want));      \
                        ck_assert_str_eq(out, want);                                               \
                        free(out);                                                                 \
                        free(want);                                                                \
                }                                                                                  \
        } while (0)

START_TEST(strings) {
        SAME("%s", "");
        SAME("plain");
        SAME("%s, %s%c 100%%", "one", "two and three", '!');
        SAME("%.*s|%.*s|%.*s", 3, "abcdef", 0, "abc", 9, "abc");
        SAME("%.*s", -1, "all of it");
        SAME("%.4s|%.200s|%.0s", "abcdef", "abc", "abc");
}
END_TEST

START_TEST(octets_after_the_precision_are_not_looked_at) {
        char *three = malloc(3), out[8];

        memcpy(three, "abc", 3);
        ck_assert_uint_eq(text_format(out, sizeof(out), "%.*s", 3, three), 3);
        ck_assert_str_eq(out, "abc");
        free(three);
}
END_TEST

START_TEST(numbers) {
        SAME("%u %u %u", 0U, 9U, UINT_MAX);
        SAME("%d %d %d %d", 0, -1, INT_MAX, INT_MIN);
        SAME("%lu %lu", 0UL, ULONG_MAX);
        SAME("%llu %llu", 10ULL, ULLONG_MAX);
        SAME("%lld %lld %ld", LLONG_MAX, LLONG_MIN, LONG_MIN);
        SAME("%zu", SIZE_MAX);
        SAME("%x %lx %llx", 0xbeefU, 0x10UL, ULLONG_MAX);
        SAME("%02d:%02u %03u %03u", 7, 7U, 1234U, 5U);
        SAME("%020llu", ULLONG_MAX);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("text");
        TCase *all = unit_tcase(suite, "format");

        tcase_add_test(all, strings);
        tcase_add_test(all, octets_after_the_precision_are_not_looked_at);
        tcase_add_test(all, numbers);
        return unit_run(suite);
}
