/* SPDX-License-Identifier: MIT */
/* fuzz/fuzz-broker.c - a request of a session that was taken over: what is let pass is what is
 * configured, and no more.
 *
 * The first octet says what is configured; the rest is a request as it goes over the socket, and
 * its text.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/lists.h"
#include "broker/request.h"
#include "smtp/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum {
        HAS_PROGRAM = 1,
        HAS_WRAPPER = 2,
        HAS_MAILMAN = 4,
        HAS_UPSTREAM = 8,
        HAS_ENGINE = 16,
        HAS_BALANCER = 32
};

static void check_run(const struct request *r, unsigned has) {
        assert(r->index == REQUEST_PROGRAM || r->index == REQUEST_WRAPPER);
        assert(has & (r->index == REQUEST_PROGRAM ? HAS_PROGRAM : HAS_WRAPPER));
        if (r->index == REQUEST_PROGRAM)
                return;
        assert(r->command < LISTS_COMMANDS && lists_commands[r->command]);
        assert(memchr(r->list, '\0', sizeof(r->list)) && *r->list && *r->list != '.' &&
               *r->list != '\0');
        assert(strspn(r->list, "abcdefghijklmnopqrstuvwxyz0123456789-+_.=") == strlen(r->list));
}

static void check_request(const struct request *r, unsigned has, const struct services *s) {
        const char *port, *endpoint;

        assert(r->n_text <= REQUEST_TEXT_MAX);
        switch (r->kind) {
        case REQUEST_RUN: check_run(r, has); break;
        case REQUEST_CONNECT:
                endpoint = request_endpoint(s, r->index, &port);
                assert(endpoint && (*endpoint == 'u' || *endpoint == 'm'));
                assert(strcmp(port, *endpoint == 'u' ? "25" : "8024") == 0);
                assert(has & (*endpoint == 'u' ? HAS_UPSTREAM : HAS_MAILMAN) && r->n_text == 0);
                break;
        case REQUEST_LIST:
                assert(has & HAS_WRAPPER && r->n_text <= ADDRESS_MAX);
                assert(r->index == REQUEST_TO_LOOK || r->index == REQUEST_TO_RUN);
                break;
        case REQUEST_TLS: assert(has & HAS_ENGINE && r->n_text == 0); break;
        case REQUEST_CANCEL: assert(r->n_text == 0); break;
        case REQUEST_PEER: assert(has & HAS_BALANCER && r->n_text <= PEER_TEXT_MAX); break;
        default: assert(!"such a request");
        }
        if (r->kind == REQUEST_RUN || r->kind == REQUEST_CONNECT)
                assert(r->milliseconds <= INT32_MAX);
}

/* Each string is the next variable of the table. */
static void check_variables(const char *text, size_t n) {
        for (size_t i = 0; i < REQUEST_VARIABLES; i++) {
                size_t k = strnlen(text, n);

                assert(k < n &&
                       strncmp(text, request_variables[i], strlen(request_variables[i])) == 0);
                assert(strncmp(text, "SMTPD_", 6) == 0);
                text += k + 1;
                n -= k + 1;
        }
        assert(n == 0);
}

/* In memory of exactly its size. */
static void fuzz_variables(const uint8_t *data, size_t n) {
        char *text = malloc(n > 0 ? n : 1);

        memcpy(text, data, n);
        if (!request_check_variables(text, n))
                check_variables(text, n);
        free(text);
}

static void fuzz_list(const uint8_t *data, size_t n) {
        char *local = malloc(n > 0 ? n : 1), list[LISTS_NAME_MAX + 1];
        uint32_t command = 0;

        memcpy(local, data, n);
        if (lists_find("/nonexistent", local, n, list, &command) > 0)
                assert(!"a list there");
        assert(!lists_is_name(local, n) || !memchr(local, '/', n));
        free(local);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static char *upstreams[] = { (char *) "u", (char *) "u" },
                    *program[] = { (char *) "/bin/true", NULL };
        static const struct list list = { upstreams, 2 };
        struct services s = { .hostname = "mx.example.com" };
        struct request r;

        if (n < 1 + sizeof(r))
                return 0;
        s.program = *data & HAS_PROGRAM ? program : NULL;
        s.wrapper = *data & HAS_WRAPPER ? "/bin/true" : NULL;
        s.lists = *data & HAS_WRAPPER ? "/" : NULL;
        s.mailman = *data & HAS_MAILMAN ? "m" : NULL;
        s.upstream = *data & HAS_UPSTREAM ? &list : NULL;
        s.engine = *data & HAS_ENGINE ? "/bin/true" : NULL;
        s.has_balancer = *data & HAS_BALANCER;
        memcpy(&r, data + 1, sizeof(r));
        if (!request_check(&r, &s))
                check_request(&r, *data, &s);
        fuzz_variables(data + 1 + sizeof(r), n - 1 - sizeof(r));
        fuzz_list(data + 1 + sizeof(r), n - 1 - sizeof(r));
        return 0;
}
