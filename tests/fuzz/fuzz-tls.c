/* SPDX-License-Identifier: MIT */
/* fuzz/fuzz-tls.c - what a server of TLS is asked, and what it answers: a whole request has values
 * where they are looked for, and an answer can be read as what was put into it. */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "helpers/tls_answer.h"
#include "helpers/tls_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Written another way: each of the parts that NULs end has a name and a sign. */
static bool is_request(const char *data, size_t n, char kind) {
        size_t begin = 2;

        if (n < 2 || n > TLS_REQUEST_MAX || data[0] != kind || data[1] != '\0' ||
            data[n - 1] != '\0')
                return false;
        for (size_t i = 2; i < n; i++)
                if (data[i] == '\0') {
                        size_t n_name =
                                strspn(data + begin, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");

                        if (n_name == 0 || data[begin + n_name] != '=' ||
                            (data[begin] >= '0' && data[begin] <= '9'))
                                return false;
                        begin = i + 1;
                }
        return true;
}

static void fuzz_request(const char *data, size_t n) {
        const char *const names[] = { "PEER", "HOSTNAME", "A", "_" };
        char *copy = malloc(n ? n : 1);

        memcpy(copy, data, n);
        assert(tls_request_is_whole(copy, n, 'Y') == is_request(copy, n, 'Y'));
        assert(tls_request_is_whole(copy, n, 'C') == is_request(copy, n, 'C'));
        for (size_t i = 0; i < 4 && (is_request(copy, n, 'Y') || is_request(copy, n, 'C')); i++) {
                const char *value = tls_request_value(copy, n, names[i]);
                size_t n_name = strlen(names[i]);

                if (!value)
                        continue;
                assert(value > copy + 2 + n_name && value < copy + n && strlen(value) < n);
                assert(value[-1] == '=' && memcmp(value - 1 - n_name, names[i], n_name) == 0);
                assert(value[-(long) n_name - 2] == '\0');
        }
        free(copy);
}

/* The input's lines are values. */
static void fuzz_answer(const char *data, size_t n) {
        struct tls_answer a = { .n = 0 };
        char *values = strndup(data, n), *rest = values, *value;
        unsigned n_added = 0, n_found = 0;

        while ((value = strsep(&rest, "\n"))) {
                size_t before = a.n;

                tls_answer_add(&a, "NAME", value);
                n_added += a.n > before;
        }
        tls_answer_end(&a);
        assert(a.n <= TLS_ANSWER_MAX && a.text[a.n - 1] == '\0');
        for (const char *p = a.text; *p; p += strlen(p) + 1, n_found++) {
                assert(strncmp(p, "NAME=", 5) == 0 && strlen(p) <= 5 + TLS_VALUE_MAX);
                for (const char *c = p; *c; c++)
                        assert(*c >= ' ' && *c <= '~');
        }
        assert(n_found == n_added && n_added > 0);
        free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        fuzz_request((const char *) data, n);
        fuzz_answer((const char *) data, n);
        return 0;
}
