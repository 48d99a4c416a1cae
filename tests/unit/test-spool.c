/* SPDX-License-Identifier: MIT */
/* test-spool.c - io/spool: what was put in comes out, however it was cut, and only whole blocks
 * went to the file before. */
#include "io/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

/* Around a block, and around several. */
static const size_t sizes[] = {
        0,
        1,
        SPOOL_MEMORY - 1,
        SPOOL_MEMORY,
        SPOOL_MEMORY + 1,
        2 * SPOOL_MEMORY - 1,
        2 * SPOOL_MEMORY,
        3 * SPOOL_MEMORY + 1,
};

enum { PIECES = 3, LARGEST = PIECES * (3 * SPOOL_MEMORY + 1) };

static char text[LARGEST], back[LARGEST];
static struct spool spool;

static void fill_text(void) {
        unsigned x = 1;

        for (size_t i = 0; i < LARGEST; i++)
                text[i] = (char) ((x = x * 1664525 + 1013904223) >> 24);
}

static void check_is_read(size_t n) {
        size_t at = 0;
        const char *part;
        int64_t k;

        while ((k = spool_read(&spool, at, &part)) > 0) {
                ck_assert_uint_le((size_t) k, n - at);
                ck_assert(memcmp(part, text + at, (size_t) k) == 0);
                at += (size_t) k;
        }
        ck_assert_int_eq(k, 0);
        ck_assert_uint_eq(at, n);
}

/* Any part of it, and no octet beyond; of a file that has become shorter only what is left. */
static void check_part(uint64_t from, uint64_t to) {
        const char *part;
        int64_t k;

        for (uint64_t at = from; (k = spool_next(&spool, &at, to, &part)) != 0; from = at) {
                ck_assert(k > 0);
                ck_assert_uint_eq(at, from + (uint64_t) k);
                ck_assert_uint_le(at, to);
                ck_assert(memcmp(part, text + from, (size_t) k) == 0);
        }
        ck_assert_uint_eq(from, to);
}

static void check_parts(size_t n) {
        const size_t cuts[] = { 0, n / 3, n / 2, n - n / 5, n };

        for (size_t i = 0; i < ELEMENTS(cuts); i++)
                for (size_t k = i; k < ELEMENTS(cuts); k++)
                        check_part(cuts[i], cuts[k]);
}

/* As the session and its broker do it together. */
static int open_for_program(void) {
        int file = spool_file(&spool);

        return file < 0 ? file : spool_open_again(file);
}

static void check_is_in_file(size_t n) {
        int fd = open_for_program();

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(read(fd, back, sizeof(back)), (ssize_t) n);
        ck_assert(memcmp(back, text, n) == 0);
        close(fd);
}

/* Each sequence of three sizes; _i is the first. */
START_TEST(comes_out_as_it_was) {
        fill_text();
        for (size_t i = 0; i < ELEMENTS(sizes) * ELEMENTS(sizes); i++) {
                const size_t pieces[PIECES] = { sizes[_i], sizes[i / ELEMENTS(sizes)],
                                                sizes[i % ELEMENTS(sizes)] };
                size_t n = 0;

                spool_init(&spool);
                for (size_t k = 0; k < PIECES; n += pieces[k++]) {
                        struct stat file;

                        ck_assert_int_eq(spool_append(&spool, text + n, pieces[k]), 0);
                        ck_assert_uint_eq(spool.size, n + pieces[k]);
                        ck_assert_int_eq(spool.fd >= 0, spool.size > SPOOL_MEMORY);
                        ck_assert(spool.fd < 0 || (fstat(spool.fd, &file) == 0 &&
                                                   file.st_size % SPOOL_MEMORY == 0));
                }
                if (i % 2 == 0)
                        check_is_read(n);
                if (i % 3 == 0)
                        check_parts(n);
                check_is_in_file(n);
                check_is_read(n);
                spool_reset(&spool);
        }
}
END_TEST

/* What one reader does, the next one does not notice. */
START_TEST(readers_have_nothing_in_common) {
        const size_t n = sizes[_i];
        int first, second;

        fill_text();
        spool_init(&spool);
        ck_assert_int_eq(spool_append(&spool, text, n), 0);
        first = open_for_program();
        second = open_for_program();
        ck_assert_int_ge(first, 0);
        ck_assert_int_ge(second, 0);
        ck_assert_int_eq(fcntl(first, F_GETFL) & O_ACCMODE, O_RDONLY);
        ck_assert_int_eq(fcntl(first, F_GETFD), FD_CLOEXEC);
        ck_assert_int_eq(write(first, "x", 1), -1);
        ck_assert_int_eq(ftruncate(first, 0), -1);
        ck_assert_int_eq(lseek(first, (off_t) (n / 2), SEEK_SET), (off_t) (n / 2));
        ck_assert_int_eq(read(second, back, sizeof(back)), (ssize_t) n);
        ck_assert(memcmp(back, text, n) == 0);
        ck_assert_int_eq(lseek(first, 0, SEEK_CUR), (off_t) (n / 2));
        close(first);
        close(second);
        check_is_read(n);
        check_is_in_file(n);
        spool_reset(&spool);
}
END_TEST

/* In memory, not even by opening it again. */
START_TEST(memory_is_sealed) {
        char path[32];
        int fd, again;

        fill_text();
        spool_init(&spool);
        ck_assert_int_eq(spool_append(&spool, text, 100), 0);
        fd = open_for_program();
        ck_assert_int_ge(fd, 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        again = open(path, O_RDWR);
        ck_assert_int_eq(again >= 0 ? write(again, "x", 1) : -1, -1);
        ck_assert_int_eq(again >= 0 ? ftruncate(again, 0) : -1, -1);
        close(again);
        close(fd);
        check_is_in_file(100);
        spool_reset(&spool);
}
END_TEST

/* The first failure stays, and nothing is taken for whole. */
START_TEST(failure_stays) {
        spool_init(&spool);
        ck_assert_int_eq(spool_append(&spool, text, 2 * SPOOL_MEMORY), 0);
        close(spool.fd);
        spool.fd = open("/dev/full", O_RDWR);
        ck_assert_int_eq(spool_append(&spool, text, SPOOL_MEMORY + 1), -ENOSPC);
        ck_assert_int_eq(spool_append(&spool, text, 1), -ENOSPC);
        ck_assert_int_eq(spool_file(&spool), -ENOSPC);
        spool_reset(&spool);
        ck_assert_int_eq(spool_append(&spool, text, 1), 0);
}
END_TEST

/* It is no end of the message. */
START_TEST(became_shorter) {
        uint64_t at = 0;
        const char *part;
        int64_t k;

        spool_init(&spool);
        ck_assert_int_eq(spool_append(&spool, text, 2 * SPOOL_MEMORY + 1), 0);
        ck_assert(spool_next(&spool, &at, spool.size, &part) > 0);
        ck_assert_int_eq(ftruncate(spool.fd, SPOOL_MEMORY), 0);
        while ((k = spool_next(&spool, &at, spool.size, &part)) > 0)
                ;
        ck_assert_int_eq(k, -EIO);
        spool_reset(&spool);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("spool");
        TCase *tcase = unit_tcase(suite, "spool");

        UNIT_TABLE(tcase, comes_out_as_it_was, sizes);
        UNIT_TABLE(tcase, readers_have_nothing_in_common, sizes);
        tcase_add_test(tcase, memory_is_sealed);
        tcase_add_test(tcase, failure_stays);
        tcase_add_test(tcase, became_shorter);
        return unit_run(suite);
}
