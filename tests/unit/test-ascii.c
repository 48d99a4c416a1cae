/* SPDX-License-Identifier: MIT */
/* test-ascii.c - base/ascii: numbers. */
#include "base/ascii.h"

#include "unit.h"

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

static const struct {
        const char *text;
        uint64_t max;
        bool is_number;
} whole[] = {
        { "", 9, false },
        { "0", 0, true },
        { "65535", 65535, true },
        { "65536", 65535, false },
        { "-1", 9, false },
        { "+1", 9, false },
        { "0x10", 99, false },
        { "1 ", 9, false },
        { "18446744073709551616", UINT64_MAX - 1, false },
};

START_TEST(whole_number_within_its_bound) {
        uint64_t number;

        ck_assert_int_eq(ascii_parse_number(whole[_i].text, whole[_i].max, &number),
                         whole[_i].is_number);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("ascii");
        TCase *number = unit_tcase(suite, "number");

        UNIT_TABLE(number, whole_number_within_its_bound, whole);
        UNIT_TABLE(number, number_is_read_to_its_end, readings);
        return unit_run(suite);
}
