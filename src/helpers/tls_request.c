/* SPDX-License-Identifier: MIT */
/* helpers/tls_request.c - what a server of TLS is asked. */
#include "helpers/tls_request.h"

#include <string.h>

#include "base/ascii.h"

enum { PREFIX = 2 }; /* "Y" or "C" */

static bool is_name(const char *name, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (!(name[i] >= 'A' && name[i] <= 'Z') && name[i] != '_' &&
                    !(i > 0 && ascii_is_digit(name[i])))
                        return false;
        return n > 0;
}

bool tls_request_is_whole(const char *data, size_t n, char kind) {
        if (n < PREFIX || n > TLS_REQUEST_MAX || data[0] != kind || data[1] != '\0' ||
            data[n - 1] != '\0')
                return false;
        for (const char *p = data + PREFIX; p < data + n; p += strlen(p) + 1) {
                const char *sign = strchr(p, '=');

                if (!sign || !is_name(p, (size_t) (sign - p)))
                        return false;
        }
        return true;
}

const char *tls_request_value(const char *data, size_t n, const char *name) {
        size_t n_name = strlen(name);

        for (const char *p = data + PREFIX; p < data + n; p += strlen(p) + 1)
                if (strncmp(p, name, n_name) == 0 && p[n_name] == '=')
                        return p + n_name + 1;
        return NULL;
}
