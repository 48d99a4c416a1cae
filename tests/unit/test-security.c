/* SPDX-License-Identifier: MIT */
/* test-security.c - smtp/security: an engine's answer, whole or not, and what it says. */
#include "smtp/security.h"

#include "unit.h"

#define PROTOCOL "SSL_PROTOCOL=TLSv1.3\0"

static const struct {
        const char *answer;
        size_t n;
        bool is_whole;
} ends[] = {
        { TEXT(""), false },
        { TEXT("A"), false },
        { TEXT("A=\0"), false },
        { TEXT("A=b\0B=c"), false },
        { TEXT("A=b\0B=c\0"), false },
        { TEXT("A=b\0\0"), true },
        { TEXT("A=b\0\0and more"), true },
        { TEXT("\0"), true },
        { TEXT("\0\0"), true },
};

START_TEST(has_an_end) {
        char memory[100];
        const char *copy = unit_copy(memory, sizeof(memory), ends[_i].answer, ends[_i].n);

        ck_assert_int_eq(security_is_whole(copy, ends[_i].n), ends[_i].is_whole);
}
END_TEST

static const struct {
        const char *answer;
        size_t n;
        struct security want;
} answers[] = {
        { TEXT("\0"), { .protocol = "TLS" } },
        { TEXT(PROTOCOL "\0"), { .protocol = "TLSv1.3" } },
        { TEXT("X=y\0" PROTOCOL "SSL_CIPHER=C\0SSL_TLS_SNI=mx.example.com\0SSL_CLIENT_S_DN=CN=x\0"
               "SSL_CLIENT_FINGERPRINT=00ff\0SSL_CLIENT_VERIFY=FAILED:expired\0\0"),
          { "TLSv1.3", "C", "mx.example.com", "00ff", "FAILED:expired" } },
        { TEXT("SSL_PROTOCOL=\0\0"), { .protocol = "TLS" } },
        { TEXT("SSL_PROTOCOL\0\0"), { .protocol = "TLS" } },
        { TEXT("XSSL_PROTOCOL=x\0SSL_PROTOCOLX=x\0=x\0\0"), { .protocol = "TLS" } },
        { TEXT(PROTOCOL "SSL_PROTOCOL=SSLv2\0\0"), { .protocol = "TLSv1.3" } }, /* the first */
        /* what comes after the end is nothing */
        { TEXT("A=b\0\0" PROTOCOL "\0"), { .protocol = "TLS" } },
        { TEXT(PROTOCOL "SSL_TLS_SNI=a\nb\xff\x7f\x1b[m\0\0"),
          { .protocol = "TLSv1.3", .sni = "a?b???[m" } },
        { TEXT("SSL_PROTOCOL=0123456789abcdefgh\0\0"), { .protocol = "0123456789abcde" } },
};

START_TEST(is_read) {
        char memory[300];
        const char *copy = unit_copy(memory, sizeof(memory), answers[_i].answer, answers[_i].n);
        const struct security *want = &answers[_i].want;
        struct security s;

        memset(&s, 'z', sizeof(s));
        security_read(&s, copy, answers[_i].n);
        ck_assert(security_is_on(&s));
        ck_assert_str_eq(s.protocol, want->protocol);
        ck_assert_str_eq(s.cipher, want->cipher);
        ck_assert_str_eq(s.sni, want->sni);
        ck_assert_str_eq(s.fingerprint, want->fingerprint);
        ck_assert_str_eq(s.verify, want->verify);
}
END_TEST

static const struct {
        const char *answer;
        size_t n;
        const char *reason;
} reasons[] = {
        { TEXT(""), "" },
        { TEXT("TLS_ERROR=wrong version\0"), "wrong version" },
        { TEXT(PROTOCOL "TLS_ERROR=wrong\nversion\0"), "wrong?version" },
        { TEXT("TLS_ERROR=wrong"), "" },
        { TEXT("TLS_ERROR=\0"), "" },
};

START_TEST(says_why_not) {
        char memory[100], reason[SECURITY_REASON_MAX];
        const char *copy = unit_copy(memory, sizeof(memory), reasons[_i].answer, reasons[_i].n);

        security_read_reason(copy, reasons[_i].n, reason);
        ck_assert_str_eq(reason, reasons[_i].reason);
}
END_TEST

/* Values of any length are cut, and nothing is written elsewhere. */
START_TEST(bounds_values) {
        static const char *const names[] = { "SSL_PROTOCOL",      "SSL_CIPHER",
                                             "SSL_TLS_SNI",       "SSL_CLIENT_FINGERPRINT",
                                             "SSL_CLIENT_VERIFY", "TLS_ERROR" };
        char answer[SECURITY_ANSWER_MAX], reason[SECURITY_REASON_MAX];

        for (size_t i = 0; i < ELEMENTS(names); i++)
                for (size_t n = 0; n < 400; n++) {
                        struct security s;
                        size_t n_name = strlen(names[i]);

                        memset(answer, 'x', sizeof(answer));
                        memcpy(answer, names[i], n_name);
                        answer[n_name] = '=';
                        memset(answer + n_name + 1 + n, '\0', 2);
                        security_read(&s, answer, n_name + n + 3);
                        security_read_reason(answer, n_name + n + 3, reason);
                        ck_assert_uint_le(strlen(s.protocol), 15);
                        ck_assert_uint_le(strlen(s.sni), 255);
                        ck_assert_uint_eq(strlen(reason), i == 5 ? (n < 199 ? n : 199) : 0);
                }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("security");
        TCase *tcase = unit_tcase(suite, "answers");

        UNIT_TABLE(tcase, has_an_end, ends);
        UNIT_TABLE(tcase, is_read, answers);
        UNIT_TABLE(tcase, says_why_not, reasons);
        tcase_add_test(tcase, bounds_values);
        return unit_run(suite);
}
