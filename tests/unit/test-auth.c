/* SPDX-License-Identifier: MIT */
/* test-auth.c - smtp/auth and smtp/login: base64, the mechanisms that are passed on, and who is
 * believed. */
#include "smtp/login.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"

static const struct {
        const char *in;
        size_t n;
        bool is_base64;
        const char *out;
        size_t n_out;
} texts[] = {
        { TEXT(""), true, TEXT("") },
        { TEXT("Zg=="), true, TEXT("f") },
        { TEXT("Zm8="), true, TEXT("fo") },
        { TEXT("Zm9v"), true, TEXT("foo") },
        { TEXT("Zm9vYmE="), true, TEXT("fooba") },
        { TEXT("AGEAYg=="), true, TEXT("\0a\0b") },
        { TEXT("+/+/"), true, TEXT("\xfb\xff\xbf") },
        { TEXT("Z"), .is_base64 = false },
        { TEXT("Zm9vY"), .is_base64 = false },
        { TEXT("Zg="), .is_base64 = false },
        { TEXT("Z==="), .is_base64 = false },
        { TEXT("===="), .is_base64 = false },
        { TEXT("Zg==Zm9v"), .is_base64 = false },
        { TEXT("Z=9v"), .is_base64 = false },
        { TEXT("Zm9\n"), .is_base64 = false },
        { TEXT("Zm9\0"), .is_base64 = false },
        { TEXT("Zm9-"), .is_base64 = false },
        { TEXT("Zm 9"), .is_base64 = false },
        { TEXT("Zm9\xff"), .is_base64 = false },
};

START_TEST(decodes) {
        char memory[16], out[16];
        const char *in = unit_copy(memory, sizeof(memory), texts[_i].in, texts[_i].n);

        ck_assert_int_eq(auth_is_base64(in, texts[_i].n), texts[_i].is_base64);
        if (!texts[_i].is_base64)
                return;
        ck_assert_uint_eq(auth_decode(in, texts[_i].n, out), texts[_i].n_out);
        ck_assert_int_eq(memcmp(out, texts[_i].out, texts[_i].n_out), 0);
}
END_TEST

static const struct {
        const char *names, *list; /* what a server says, and what is left of it */
} offers[] = {
        { "", "" },
        { " ", "" },
        { "PLAIN LOGIN", "PLAIN LOGIN" },
        { "  PLAIN   LOGIN  ", "PLAIN LOGIN" },
        { "plain PLAIN Plain", "plain" },
        { "SCRAM-SHA-256-PLUS SCRAM-SHA-256 -PLUS X-PLUS", "SCRAM-SHA-256 -PLUS" },
        { "external GSSAPI GSS-SPNEGO NTLM CRAM-MD5", "CRAM-MD5" },
        { "ABCDEFGHIJKLMNOPQRST ABCDEFGHIJKLMNOPQRSTU", "ABCDEFGHIJKLMNOPQRST" },
        { "A\rB C=D E\xc3\xa4 F_G", "F_G" },
};

START_TEST(passes_on) {
        char list[AUTH_MECHANISMS_MAX + 1] = "";

        auth_add_mechanisms(list, offers[_i].names, strlen(offers[_i].names));
        ck_assert_str_eq(list, offers[_i].list);
}
END_TEST

START_TEST(bounds_the_list) {
        char list[AUTH_MECHANISMS_MAX + 1] = "", name[8];

        for (unsigned i = 100; i < 300; i++) {
                snprintf(name, sizeof(name), "X-%u", i);
                auth_add_mechanisms(list, name, strlen(name));
        }
        ck_assert_uint_le(AUTH_MECHANISMS_MAX - 6, strlen(list));
        ck_assert(auth_has_mechanism(list, "x-100", 5) && auth_has_mechanism(list, "X-141", 5));
        ck_assert(!auth_has_mechanism(list, "X-10", 4) && !auth_has_mechanism(list, "X-143", 5));
}
END_TEST

/* Lines, and the codes of the answers; and the name in the end. */
static const struct {
        const char *lines[4];
        short codes[4];
        const char *name;
} exchanges[] = {
        { { "AUTH PLAIN AGEAYg==" }, { 235 }, "a" },
        { { "AUTH PLAIN YwBhAGI=" }, { 235 }, "a" }, /* as c */
        { { "AUTH PLAIN AGEA" }, { 235 }, "a" },     /* without a password */
        { { "AUTH PLAIN", "AGEAYg==" }, { 334, 235 }, "a" },
        { { "AUTH LOGIN", "YQ==", "Yg==" }, { 334, 334, 235 }, "a" },
        { { "AUTH LOGIN YQ==", "" }, { 334, 235 }, "a" },
        { { "AUTH PLAIN AGEA", "AUTH LOGIN", "Yg==", "" }, { 235, 334, 334, 235 }, "b" },
        { { "AUTH PLAIN =" }, { 501 }, "" },
        { { "AUTH PLAIN YQ==" }, { 501 }, "" },
        { { "AUTH PLAIN AGE=" }, { 501 }, "" },
        { { "AUTH PLAIN AABi" }, { 501 }, "" },     /* without a name */
        { { "AUTH PLAIN AGEAYgBj" }, { 501 }, "" }, /* three NULs */
        { { "AUTH LOGIN =" }, { 501 }, "" },
        { { "AUTH LOGIN", "" }, { 334, 501 }, "" },
        { { "AUTH LOGIN", "YQBi" }, { 334, 501 }, "" }, /* with a NUL */
        { { "AUTH LOGIN", "*", "AUTH LOGIN", "YQ==" }, { 334, 501, 334, 334 }, "a" },
        { { "AUTH LOGIN", "YQ==", "*" }, { 334, 334, 501 }, "" },
};

START_TEST(believes) {
        struct login l = { 0 };
        struct challenge challenge;
        struct reply reply;

        for (size_t i = 0; i < ELEMENTS(exchanges[_i].lines) && exchanges[_i].lines[i]; i++) {
                login_step(&l, exchanges[_i].lines[i], strlen(exchanges[_i].lines[i]), &challenge,
                           &reply);
                ck_assert_int_eq(reply.code, exchanges[_i].codes[i]);
        }
        ck_assert_str_eq(l.name, exchanges[_i].name);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("auth");
        TCase *tcase = unit_tcase(suite, "values");

        UNIT_TABLE(tcase, decodes, texts);
        UNIT_TABLE(tcase, passes_on, offers);
        tcase_add_test(tcase, bounds_the_list);
        UNIT_TABLE(tcase, believes, exchanges);
        return unit_run(suite);
}
