/* test-ascii.c - base/ascii: strings put together in any room there is, and numbers there and back. */
#include "base/ascii.h"

#include <inttypes.h>
#include <stdio.h>

#include "unit.h"

static const char all[] = "one, two and three";

/* Each room, at the very end of its memory: what fits is there, then a NUL. */
START_TEST(is_cut_where_the_room_ends) {
        for (size_t room = 1; room <= sizeof(all) + 1; room++) {
                size_t want = room <= sizeof(all) ? room - 1 : sizeof(all) - 1;
                char *out = malloc(room);

                ck_assert_uint_eq(ascii_join(out, room, "one, ", "", "two", " and three", NULL), want);
                ck_assert_uint_eq(strlen(out), want);
                ck_assert(memcmp(out, all, want) == 0);
                free(out);
        }
}
END_TEST

START_TEST(of_nothing_is_empty) {
        char out[8] = "xxxxxxx";

        ck_assert_uint_eq(ascii_join(out, sizeof(out), NULL), 0);
        ck_assert_str_eq(out, "");
}
END_TEST

static const uint64_t numbers[] = { 0, 1, 9, 10, 99, 100, 65535, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX };

START_TEST(number_there_and_back) {
        char room[ASCII_NUMBER_MAX], want[ASCII_NUMBER_MAX];
        const char *digits = ascii_number(numbers[_i], room);
        uint64_t back;

        snprintf(want, sizeof(want), "%" PRIu64, numbers[_i]);
        ck_assert_str_eq(digits, want);
        ck_assert_str_eq(ascii_read_number(digits, &back), "");
        ck_assert(back == numbers[_i]);
}
END_TEST

static const struct {
        const char *text;
        uint64_t number;
        const char *rest;
} readings[] = {
        { "", 0, "" },
        { "x1", 0, "x1" },
        { "-1", 0, "-1" },
        { "007 ", 7, " " },
        { "12:34", 12, ":34" },
        { "18446744073709551616", UINT64_MAX, "" },
        { "99999999999999999999999k", UINT64_MAX, "k" },
};

START_TEST(number_is_read_to_its_end) {
        uint64_t number;

        ck_assert_str_eq(ascii_read_number(readings[_i].text, &number), readings[_i].rest);
        ck_assert(number == readings[_i].number);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("ascii");
        TCase *join = unit_tcase(suite, "join"), *number = unit_tcase(suite, "number");

        tcase_add_test(join, is_cut_where_the_room_ends);
        tcase_add_test(join, of_nothing_is_empty);
        UNIT_TABLE(number, number_there_and_back, numbers);
        UNIT_TABLE(number, number_is_read_to_its_end, readings);
        return unit_run(suite);
}
