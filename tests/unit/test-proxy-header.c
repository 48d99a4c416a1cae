/* SPDX-License-Identifier: MIT */
/* test-proxy-header.c - smtp/proxy_header: who the client is by a header, what is none, and that
 * not an octet behind it is taken. */
#include "smtp/proxy_header.h"

#include "unit.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define TCP4 V2 "\x21\x11"
#define FROM_192_0_2_1 "\xc0\0\2\1\xc0\0\2\2\x12\x67\0\x19" /* port 4711 */
#define V4 "192.0.2.1:4711"
#define TCP6 V2 "\x21\x21\0\x24"
#define FROM_2001_DB8__1                                                                           \
        "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\x12\x67\0"   \
        "\x19"
#define MAPPED                                                                                     \
        "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\2\0\0\0\x19"
#define SSL_13                                                                                     \
        "\x20\0\x2b\1\0\0\0\0\x21\0\7TLSv1.3\x23\0\x16TLS_AES_256_GCM_SHA384"                      \
        "\x22\0\0"

static const struct {
        const char *text;
        size_t n;
        enum proxy_status want;
        const char *client;
        struct security tls;
} headers[] = {
        { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 4711 25\r\n"), PROXY_DONE, V4 },
        { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 0 25\r\n"), PROXY_DONE, "192.0.2.1" },
        { TEXT("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), PROXY_DONE,
          "255.255.255.255:65535" },
        { TEXT("PROXY TCP6 2001:db8::1 2001:db8::2 4711 25\r\n"), PROXY_DONE,
          "[2001:db8::1]:4711" },
        { TEXT("PROXY TCP6 ::ffff:192.0.2.1 ::1 0 25\r\n"), PROXY_DONE, "[::ffff:192.0.2.1]" },
        { TEXT("PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY UNKNOWN\r\n"), PROXY_DONE, "" },
        { TEXT("PROXY UNKNOWN 192.0.2.1 192.0.2.2 4711 25\r\n"), PROXY_DONE, "" },
        { TEXT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
               "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
          PROXY_DONE, "" }, /* 107 octets */
        { TEXT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
               "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535 \r\n"),
          PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 4711 25\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 4711 25\r\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 4711 25 \r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 4711 25 26\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2.1  192.0.2.2 4711 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 4711 \r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 65536 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 04711 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 -1 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 4711 00\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2.01 192.0.2.2 4711 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2 192.0.2.2 4711 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 2001:db8::1 192.0.2.2 4711 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP6 192.0.2.1 2001:db8::2 4711 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP6 fe80::1%eth0 fe80::2 4711 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 local 192.0.2.2 4711 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4\0 192.0.2.1 192.0.2.2 4711 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY TCP4 192.0.2.1\0 192.0.2.2 4711 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY UDP4 192.0.2.1 192.0.2.2 4711 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY tcp4 192.0.2.1 192.0.2.2 4711 25\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY \r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY\r\n"), PROXY_BAD, NULL },
        { TEXT("PROXY  UNKNOWN\r\n"), PROXY_BAD, NULL },
        { TEXT("proxy UNKNOWN\r\n"), PROXY_BAD, NULL },
        { TEXT("EHLO client.example.org\r\n"), PROXY_BAD, NULL },
        { TEXT("\x16\3\1"), PROXY_BAD, NULL },
        { TEXT("\r\n\r\n\r\n"), PROXY_BAD, NULL },
        { TEXT(V2 "\x20\0\0\0"), PROXY_DONE, "" },
        /* LOCAL: what it says means nothing */
        { TEXT(V2 "\x20\x11\0\x0c" FROM_192_0_2_1), PROXY_DONE, "" },
        { TEXT(V2 "\x20\xff\0\3abc"), PROXY_DONE, "" },
        { TEXT(V2 "\x21\0\0\0"), PROXY_DONE, "" },
        { TEXT(V2 "\x21\0\0\4abcd"), PROXY_DONE, "" },
        { TEXT(V2 "\x21\x12\0\x0c" FROM_192_0_2_1), PROXY_DONE, "" }, /* UDP */
        { TEXT(V2 "\x21\x31\0\4/run"), PROXY_DONE, "" },
        { TEXT(TCP4 "\0\x0c" FROM_192_0_2_1), PROXY_DONE, V4 },
        { TEXT(TCP6 FROM_2001_DB8__1), PROXY_DONE, "[2001:db8::1]:4711" },
        { TEXT(TCP6 MAPPED), PROXY_DONE, "[::ffff:192.0.2.1]" },
        /* shorter than its addresses */
        { TEXT(TCP4 "\0\x0b\xc0\0\2\1\xc0\0\2\2\x12\x67\0"), PROXY_BAD, NULL },
        { TEXT(V2 "\x21\x21\0\x0c" FROM_192_0_2_1), PROXY_BAD, NULL },
        { TEXT(V2 "\x22"), PROXY_BAD, NULL }, /* no such command, version, family, protocol */
        { TEXT(V2 "\x11"), PROXY_BAD, NULL },
        { TEXT(V2 "\x31"), PROXY_BAD, NULL },
        { TEXT(V2 "\x21\x41\0\0"), PROXY_BAD, NULL },
        { TEXT(V2 "\x21\x13\0\0"), PROXY_BAD, NULL },
        { TEXT(V2 "\x20\0\x08\1"), PROXY_BAD, NULL }, /* longer than 2048 */
        { TEXT(V2 "\x20\0\xff\xff"), PROXY_BAD, NULL },
        { TEXT(TCP4 "\0\x0f" FROM_192_0_2_1 "\4\0\0"), PROXY_DONE, V4 },
        { TEXT(TCP4 "\0\x11" FROM_192_0_2_1 "\xee\0\2ab"), PROXY_DONE, V4 },
        { TEXT(TCP4 "\0\x0e" FROM_192_0_2_1 "\4\0"), PROXY_BAD, NULL },
        { TEXT(TCP4 "\0\x0f" FROM_192_0_2_1 "\4\0\1"), PROXY_BAD, NULL },
        { TEXT(TCP4 "\0\x10" FROM_192_0_2_1 "\4\xff\xff."), PROXY_BAD, NULL },
        { TEXT(TCP4 "\0\x14" FROM_192_0_2_1 "\x20\0\5\1\0\0\0\0"),
          PROXY_DONE,
          V4,
          { "TLS", .verify = "NONE", .is_at_balancer = true } },
        { TEXT(TCP4 "\0\x14" FROM_192_0_2_1 "\x20\0\5\0\0\0\0\0"),
          PROXY_DONE,
          V4,
          { "", .verify = "NONE", .is_at_balancer = true } },
        { TEXT(TCP4 "\0\x14" FROM_192_0_2_1 "\x20\0\5\3\0\0\0\0"),
          PROXY_DONE,
          V4,
          { "TLS", .verify = "SUCCESS", .is_at_balancer = true } },
        { TEXT(TCP4 "\0\x14" FROM_192_0_2_1 "\x20\0\5\5\0\0\0\1"),
          PROXY_DONE,
          V4,
          { "TLS", .verify = "FAILED", .is_at_balancer = true } },
        { TEXT(TCP4 "\0\x13" FROM_192_0_2_1 "\x20\0\4\1\0\0\0"), PROXY_BAD, NULL },
        { TEXT(TCP4 "\0\x15" FROM_192_0_2_1 "\x20\0\6\1\0\0\0\0\x21"), PROXY_BAD, NULL },
        { TEXT(TCP4 "\0\x43" FROM_192_0_2_1 "\2\0\6mx\nabc" SSL_13),
          PROXY_DONE,
          V4,
          { "TLSv1.3", "TLS_AES_256_GCM_SHA384", .sni = "mx?abc", .verify = "NONE",
            .is_at_balancer = true } },
        { TEXT(TCP4 "\0\x12" FROM_192_0_2_1 "\3\0\3abc"), PROXY_BAD, NULL },
        { TEXT(TCP4 "\0\x13" FROM_192_0_2_1 "\3\0\4\0\0\0\0"), PROXY_BAD, NULL },
};

/* In pieces of a size, each in memory of its own, with the client's word behind it. */
static enum proxy_status feed(struct proxy_header *h, const char *in, size_t n, size_t piece) {
        static const char next[] = "EHLO";
        char text[2200], memory[2200];
        enum proxy_status status = PROXY_MORE;
        size_t n_all = n + sizeof(next) - 1, at = 0;

        memset(h, 0, sizeof(*h));
        memcpy(mempcpy(text, in, n), next, sizeof(next) - 1);
        while (status == PROXY_MORE && at < n_all) {
                size_t part = n_all - at < piece ? n_all - at : piece, used = 0;

                status = proxy_header_take(h, unit_copy(memory, sizeof(memory), text + at, part),
                                           part, &used);
                ck_assert(used <= part && (status != PROXY_MORE || used == part));
                at += used;
        }
        ck_assert(status != PROXY_DONE || at == n);
        return status;
}

START_TEST(is_read) {
        static const size_t pieces[] = { 3000, 1, 2, 3, 7, 16 };
        const struct security *want = &headers[_i].tls;
        static struct proxy_header h;

        for (size_t i = 0; i < ELEMENTS(pieces); i++) {
                ck_assert_int_eq(feed(&h, headers[_i].text, headers[_i].n, pieces[i]),
                                 headers[_i].want);
                if (headers[_i].want != PROXY_DONE)
                        continue;
                ck_assert_str_eq(h.client, headers[_i].client);
                ck_assert_str_eq(h.tls.protocol, want->protocol);
                ck_assert_str_eq(h.tls.cipher, want->cipher);
                ck_assert_str_eq(h.tls.sni, want->sni);
                ck_assert_str_eq(h.tls.verify, want->verify);
                ck_assert_str_eq(h.tls.fingerprint, "");
                ck_assert_int_eq(h.tls.is_at_balancer, want->is_at_balancer);
        }
}
END_TEST

/* As long as a good one is not whole, it is not. */
START_TEST(is_not_whole) {
        static struct proxy_header h;

        for (size_t n = 0; headers[_i].want == PROXY_DONE && n < headers[_i].n; n++) {
                size_t used = 0;

                memset(&h, 0, sizeof(h));
                ck_assert_int_eq(proxy_header_take(&h, headers[_i].text, n, &used), PROXY_MORE);
                ck_assert_uint_eq(used, n);
        }
}
END_TEST

START_TEST(longest) {
        static struct proxy_header h;
        static char text[PROXY_HEADER_MAX];

        memcpy(text, TEXT(V2 "\x21\0\x08\0"));
        ck_assert_int_eq(feed(&h, text, sizeof(text), 100), PROXY_DONE);
        memcpy(text, TEXT(TCP4 "\x08\0" FROM_192_0_2_1 "\xee\x07\xf1"));
        ck_assert_int_eq(feed(&h, text, sizeof(text), 1), PROXY_DONE);
        ck_assert_str_eq(h.client, V4);
}
END_TEST

/* Written another way: bit by bit. */
START_TEST(sum) {
        static struct proxy_header h;
        char text[] = TCP4 "\0\x13" FROM_192_0_2_1 "\3\0\4\0\0\0\0";
        uint32_t crc = UINT32_MAX;

        for (size_t i = 0; i < sizeof(text) - 1; i++)
                for (unsigned bit = 0; bit < 8; bit++) {
                        uint32_t low = (crc ^ (unsigned) ((unsigned char) text[i] >> bit)) & 1;

                        crc = crc >> 1 ^ (low ? UINT32_C(0x82f63b78) : 0);
                }
        for (int i = 0; i < 4; i++)
                text[sizeof(text) - 5 + (size_t) i] = (char) (~crc >> (24 - 8 * i));
        ck_assert_int_eq(feed(&h, text, sizeof(text) - 1, 5), PROXY_DONE);
        ck_assert_str_eq(h.client, V4);
        text[sizeof(text) - 2] ^= 1;
        ck_assert_int_eq(feed(&h, text, sizeof(text) - 1, 5), PROXY_BAD);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("proxy_header");
        TCase *tcase = unit_tcase(suite, "headers");

        UNIT_TABLE(tcase, is_read, headers);
        UNIT_TABLE(tcase, is_not_whole, headers);
        tcase_add_test(tcase, longest);
        tcase_add_test(tcase, sum);
        return unit_run(suite);
}
