/* SPDX-License-Identifier: MIT */
/* test-tickets.c - helpers/tls_tickets: a ticket is good for twelve hours at least, and for a day
 * at most. */
#include "helpers/tls_tickets.h"

#include <stdint.h>
#include <time.h>

#include "helpers/tls_complain.h"
#include "helpers/tls_self_signed.h"
#include "unit.h"

enum { HOUR = 3600 };

static time_t passed; /* seconds */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __real_clock_gettime(clockid_t clock, struct timespec *ret);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret) {
        int r = __real_clock_gettime(clock, ret);

        ret->tv_sec += passed;
        return r;
}

void tls_complain(__attribute__((unused)) enum tls_gravity gravity, const char *format, ...) {
        ck_abort_msg("%s", format);
}

const char *tls_complain_reason(void) {
        return "";
}

static SSL_CTX *server, *client;
static SSL_SESSION *session;

/* Both sides in turns, over memory. Returns whether the session went on, and keeps the new one. */
static int shake_hands(void) {
        SSL *ends[] = { SSL_new(server), SSL_new(client) };
        BIO *there = BIO_new(BIO_s_mem()), *back = BIO_new(BIO_s_mem());
        int results[] = { 0, 0 }, is_reused;

        ck_assert(BIO_up_ref(there) && BIO_up_ref(back));
        SSL_set_bio(ends[0], there, back);
        SSL_set_bio(ends[1], back, there);
        ck_assert(!session || SSL_set_session(ends[1], session) == 1);
        for (unsigned i = 0; i < 20 && (results[0] != 1 || results[1] != 1); i++)
                results[i % 2] = i % 2 ? SSL_accept(ends[0]) : SSL_connect(ends[1]);
        is_reused = SSL_session_reused(ends[1]);
        if (!is_reused) {
                SSL_SESSION_free(session);
                session = SSL_get1_session(ends[1]);
        }
        ck_assert_int_eq(results[0] + results[1], 2);
        SSL_shutdown(ends[1]); /* else the session would not be one to come back to */
        SSL_free(ends[0]);
        SSL_free(ends[1]);
        return is_reused;
}

static void pass(time_t n) {
        passed += n * HOUR;
        tls_tickets_renew();
}

static void begin(void) {
        server = SSL_CTX_new(TLS_server_method());
        client = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_max_proto_version(client,
                                      TLS1_2_VERSION); /* the ticket is there with the handshake */
        tls_self_signed_use(server, "mx.example.com");
        tls_tickets_offer(server);
        ck_assert_int_eq(shake_hands(), 0);
}

static void end(void) {
        SSL_SESSION_free(session);
        SSL_CTX_free(server);
        SSL_CTX_free(client);
}

static const struct {
        time_t hours[3];
        int is_reused;
} rows[] = {
        { { 0 }, 1 },      { { 11 }, 1 },        { { 13 }, 1 }, /* by the key before */
        { { 13, 11 }, 1 }, { { 11, 2, 11 }, 1 }, { { 13, 13 }, 0 }, { { 13, 13, 13 }, 0 },
};

START_TEST(ages) {
        begin();
        for (unsigned i = 0; i < 3; i++)
                pass(rows[_i].hours[i]);
        ck_assert_int_eq(shake_hands(), rows[_i].is_reused);
        ck_assert_int_eq(shake_hands(), 1); /* by what it got now, if it got something */
        end();
}
END_TEST

int main(void) {
        Suite *suite = suite_create("tickets");

        UNIT_TABLE(unit_tcase(suite, "tickets"), ages, rows);
        return unit_run(suite);
}
