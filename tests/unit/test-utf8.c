/* SPDX-License-Identifier: MIT */
/* test-utf8.c - smtp/address: what UTF-8 is. */
#include "smtp/address.h"

#include <stdint.h>

#include "unit.h"

/* The reference: decode by arithmetic, then ask whether this code point is written so. */
static size_t utf8_reference(const unsigned char *s, size_t n) {
        static const uint32_t minimum[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t length = 0;
        uint32_t point;

        while (length < 8 && s[0] & 0x80 >> length)
                length++;
        if (length < 2 || length > 4 || n < length)
                return 0;
        point = s[0] & (0xffU >> (length + 1));
        for (size_t i = 1; i < length; i++) {
                if (s[i] / 64 != 2)
                        return 0;
                point = point * 64 + s[i] % 64;
        }
        return point >= minimum[length] && point <= 0x10ffff && point / 0x800 != 0xd800 / 0x800
                       ? length
                       : 0;
}

static void compare_utf8(const unsigned char *s, size_t n) {
        if (utf8_length((const char *) s, n) != utf8_reference(s, n))
                ck_abort_msg("%zu of %02x %02x %02x %02x", n, s[0], s[1], s[2], s[3]);
}

/* _i is the first octet: all second ones, all third ones where they count, and the edges among the
 * fourth. */
START_TEST(agrees_on_utf8) {
        static const unsigned char fourth[] = {
                0x00, 0x41, 0x7f, 0x80, 0x81, 0xa5, 0xbf, 0xc0, 0xff
        };

        for (unsigned second = 0; second < 256; second += unit_step())
                for (unsigned third = 0; third < 256; third += _i < 0xe0 ? 51 : 1)
                        for (size_t i = 0; i < ELEMENTS(fourth); i++) {
                                unsigned char s[] = { (unsigned char) _i, (unsigned char) second,
                                                      (unsigned char) third, fourth[i] };

                                for (size_t n = i == 0 && third == 0 ? 1 : 3; n <= 4; n++)
                                        compare_utf8(s, n);
                        }
}
END_TEST

/* Every code point as it is written. */
START_TEST(knows_every_character) {
        for (uint32_t c = 0x80; c < 0x110000; c += unit_step()) {
                size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
                unsigned char s[4];
                uint32_t rest = c;

                for (size_t i = length - 1; i > 0; i--, rest >>= 6)
                        s[i] = (unsigned char) (0x80 | (rest & 0x3f));
                s[0] = (unsigned char) (0xf00U >> length | rest);
                if (utf8_length((char *) s, length) != (c >= 0xd800 && c <= 0xdfff ? 0 : length))
                        ck_abort_msg("U+%04X", c);
        }
}
END_TEST

START_TEST(reads_no_further) {
        static const char *const cut[] = { "",     "\xc3",     "\xe2",         "\xe2\x82",
                                           "\xf0", "\xf0\x9f", "\xf0\x9f\x98", "a" };
        char buffer[8];
        size_t n = strlen(cut[_i]);

        ck_assert_uint_eq(utf8_length(unit_copy(buffer, sizeof(buffer), cut[_i], n), n), 0);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("utf8");
        TCase *tcase = unit_tcase(suite, "utf8");

        tcase_add_loop_test(tcase, agrees_on_utf8, 0, 256);
        tcase_add_test(tcase, knows_every_character);
        tcase_add_loop_test(tcase, reads_no_further, 0, 8);
        return unit_run(suite);
}
